"""Strides of small networks turned into dilation: they stride in all the ways that families do."""

import keras
import numpy as np
import pytest

from models import dilate
from models.dilation.dilate import Grid, dilated_copy
from tests.models.dilation.consistency import (
    TOLERANCE,
    asymmetry,
    check_consistency,
    check_maps,
    distance,
    fitting_sides,
)
from tests.models.networks import KINDS, backbone, leaves

GRIDS = {
    "same": Grid(True),
    "padded": Grid(False),
    "unpadded": Grid(True, 3),
    "pools": Grid(True),
    "gates": Grid(True),
}

every_kind = pytest.mark.parametrize("kind", KINDS)


def pixels(*sides):
    return np.random.default_rng(2).uniform(-1, 1, (1, *sides, 3)).astype("float32")


@every_kind
def test_dense_features_hold_the_original_ones(kind):
    check_consistency(backbone(kind), pixels)


@every_kind
def test_stride_32_is_the_original_and_maps_are_keyed_by_stride(kind):
    check_maps(backbone(kind), pixels, [2, 4, 8])


@every_kind
def test_weights_are_the_original_ones(kind):
    network = backbone(kind)
    before = [layer.get_config() for layer in network.layers]
    copy = dilate(network, 8)
    assert copy.count_params() == network.count_params()
    for layer in leaves(network):
        copied = copy.get_layer(layer.name).get_weights() if layer.weights else []
        for got, weight in zip(copied, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(got, weight)
    assert [layer.get_config() for layer in network.layers] == before


def test_grids():
    assert {kind: dilated_copy(backbone(kind), 32).grid for kind in KINDS} == GRIDS


@pytest.mark.parametrize("kind", ["same", "unpadded", "pools"])
def test_features_of_a_corner_grid_are_centered_on_their_pixels(kind):
    images = pixels(*fitting_sides(GRIDS[kind], 32, 64))
    assert asymmetry(dilate(backbone(kind), 16), images) < 10 * TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_the_distance_sees_forgotten_dilation(kind, monkeypatch):
    monkeypatch.setattr("models.dilation.converter.DilationConverter._rate", lambda *_: 1)
    images = pixels(*fitting_sides(GRIDS[kind], 64, 96))
    assert distance(dilate(backbone(kind), 16)(images), backbone(kind)(images), 2) > 1e-3


def test_the_distance_sees_forgotten_padding():
    network = backbone("padded")
    right = dilate(network, 16)
    (padding,) = (x for x in right.layers if getattr(x, "padding", 0) == ((0, 2), (0, 2)))

    def wrong(layer):
        config = layer.get_config()
        if layer.name == padding.name:
            config["padding"] = ((1, 1), (1, 1))  # as an unstrided kernel usually is
        return type(layer).from_config(config)

    copy = keras.models.clone_model(right, clone_function=wrong)
    copy.set_weights(right.get_weights())
    images = pixels(64, 96)
    assert distance(copy(images), network(images), 2) > 1e-3


def network_of(*layers):
    x = inputs = keras.Input((None, None, 3))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def test_a_network_of_ones_own():
    """Nested models, pools of both kinds, even kernels, a gate of the whole image."""
    layers = keras.layers
    nested_input = keras.Input((None, None, 8))
    x = layers.MaxPooling2D(2, name="pool")(nested_input)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    nested = keras.Model(nested_input, layers.Multiply()([x, layers.Dense(8)(gate)]))
    network = network_of(
        layers.Conv2D(8, 4, strides=4),
        keras.Sequential([layers.Conv2D(8, 2, strides=2, name="conv"), layers.ReLU()]),
        nested,
        keras.Sequential([layers.Conv2D(8, 3, padding="same", name="conv"), layers.ReLU()]),
        layers.Conv2D(8, 3, padding="same", dilation_rate=2),
        lambda x: keras.ops.tanh(x) * 2,
        layers.AveragePooling2D(2),
        layers.DepthwiseConv2D(3, padding="same"),
    )
    images = np.random.default_rng(0).normal(size=(2, 64, 96, 3)).astype("float32")
    assert dilate(network, 8).count_params() == network.count_params()
    for output_stride in (8, 16, 32):
        dense = dilate(network, output_stride)(images)
        assert dense.shape == (2, 64 // output_stride, 96 // output_stride, 8)
        assert distance(dense, network(images), 32 // output_stride) < TOLERANCE


@pytest.mark.parametrize("kind", [keras.layers.MaxPooling2D, keras.layers.AveragePooling2D])
def test_padded_pools_leave_out_what_is_outside(kind):
    network = network_of(
        *[keras.layers.Conv2D(4, 3, strides=2, padding="same") for _ in range(3)],
        keras.layers.ZeroPadding2D(1),
        kind(3, strides=2),
        kind(3, strides=1, padding="same"),
    )
    images = -np.random.default_rng(0).uniform(size=(1, 129, 129, 3)).astype("float32")
    assert distance(dilate(network, 8)(images), network(images), 2) < TOLERANCE


def test_a_sequential_network_of_one_size_takes_all():
    network = keras.Sequential(
        [keras.Input((64, 64, 3)), *[keras.layers.Conv2D(4, 2, strides=2) for _ in range(4)]]
    )
    images = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    dense = dilate(network, 8)
    assert distance(dense(images), network(images), 2) < TOLERANCE
    assert dense(np.zeros((1, 32, 96, 3))).shape == (1, 4, 12, 4)


def shared(block):
    """Return a network that calls a block at two strides."""
    x = inputs = keras.Input((None, None, 4))
    for stride in (8, 2):
        x = keras.layers.Conv2D(4, stride, strides=stride)(block(x))
    return keras.Model(inputs, block(x))


@pytest.mark.parametrize(
    "block",
    [
        keras.layers.Conv2D(4, 3, padding="same", name="block"),
        keras.Sequential([keras.Input((None, None, 4)), keras.layers.Conv2D(4, 1, name="block")]),
    ],
    ids=["layer", "model"],
)
def test_shared_weights_are_refused_where_they_would_come_apart(block):
    with pytest.raises(ValueError, match="only once. Received: layer='block'"):
        dilate(shared(block), 8)


def test_a_pointwise_layer_may_be_shared():
    network = shared(keras.layers.ReLU())
    images = np.random.default_rng(0).normal(size=(1, 64, 64, 4)).astype("float32")
    assert distance(dilate(network, 8)(images), network(images), 2) < TOLERANCE


@pytest.mark.parametrize("first", [0, 1])
def test_branches_that_lie_apart_have_no_corners(first):
    x = inputs = keras.Input((None, None, 3))
    branches = [
        keras.layers.Conv2D(3, 3, strides=8, padding="same")(x),
        keras.layers.Conv2D(3, 8, strides=8)(x),
    ]
    network = keras.Model(inputs, keras.layers.Add()([branches[first], branches[1 - first]]))
    assert dilated_copy(network, 8).grid == Grid(False)
