"""Atrous consistency: the same weights at every output stride give the same features."""

import functools

import keras
import numpy as np
import pytest

from models import BACKBONES, dilate
from models.dilation import clone_with, dilation_edits

# Of the largest feature. Float32 sums in another order.
TOLERANCE = 1e-5


def original(name):
    return BACKBONES[name].constructor(include_top=False, weights=None, input_shape=(None, None, 3))


def batch_norm_layers(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def fit_batch_norm(model, images):
    """Set all statistics to those of `images`.

    With the statistics and offsets a new network has, features shrink from layer to layer and the
    padding hardly matters: a test on them would overlook a forgotten dilation.
    """
    rng = np.random.default_rng(1)
    layers = batch_norm_layers(model)
    for layer in layers:
        layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
        layer.beta.assign(rng.uniform(-0.5, 0.5, layer.beta.shape))
        layer.momentum = 0.0  # one call replaces the statistics
    model(images, training=True)


def distance(dense, sparse, step):
    dense, sparse = np.asarray(dense)[:, ::step, ::step], np.asarray(sparse)
    assert dense.shape == sparse.shape
    return np.abs(dense - sparse).max() / np.abs(sparse).max()


@functools.cache
def fitted(name):
    keras.utils.set_random_seed(0)
    model = original(name)
    fit_batch_norm(model, np.random.default_rng(0).normal(0, 1, (2, 64, 64, 3)).astype("float32"))
    return model


@functools.cache
def dilated(name, output_stride):
    return dilate(fitted(name), output_stride)


def noise(*sides):
    return np.random.default_rng(2).normal(0, 1, (1, *sides, 3)).astype("float32")


every_backbone = pytest.mark.parametrize("name", BACKBONES)


@every_backbone
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dense_features_hold_the_original_ones(name, output_stride):
    for sides in ((64, 96), (96, 32)):
        dense = dilated(name, output_stride)(noise(*sides))
        assert dense.shape[1:3] == (sides[0] // output_stride, sides[1] // output_stride)
        assert distance(dense, fitted(name)(noise(*sides)), 32 // output_stride) < TOLERANCE


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
def test_the_distance_sees_forgotten_dilation(name):
    edits = dilation_edits(fitted(name), 16)
    for edit in edits.values():
        if "padding" in edit:
            edit["padding"] = ((0, 2), (0, 2))  # keeps the size through an undilated kernel
        else:
            del edit["dilation_rate"]
    wrong = clone_with(fitted(name), edits)(noise(64, 96))
    assert distance(wrong, fitted(name)(noise(64, 96)), 2) > 1000 * TOLERANCE


def test_the_distance_sees_forgotten_padding():
    network = fitted("mobilenet_v2")
    edits = dilation_edits(network, 16)
    paddings = [edit for edit in edits.values() if "padding" in edit]
    assert paddings == [{"padding": ((0, 2), (0, 2))}]
    paddings[0]["padding"] = ((1, 1), (1, 1))  # as an unstrided kernel usually is
    wrong = clone_with(network, edits)(noise(64, 96))
    assert distance(wrong, network(noise(64, 96)), 2) > 1000 * TOLERANCE


@every_backbone
def test_stride_32_is_the_original(name):
    np.testing.assert_array_equal(
        dilate(fitted(name), 32)(noise(32, 64)), fitted(name)(noise(32, 64))
    )


@every_backbone
def test_weights_are_the_original_ones(name):
    network, copy = fitted(name), dilated(name, 8)
    assert copy.count_params() == network.count_params()
    for copied, weight in zip(copy.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(copied, weight)


def test_the_original_stays_as_it_is():
    network = fitted("mobilenet_v2")
    before = [layer.get_config() for layer in network.layers]
    dilate(network, 8)
    assert [layer.get_config() for layer in network.layers] == before


@pytest.mark.parametrize("output_stride", [0, 4, 12, 64, "16", None])
def test_impossible_stride(output_stride):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs))
    with pytest.raises(ValueError, match=r"one of \(8, 16, 32\)\. Received: output_stride=") as e:
        dilate(model, output_stride)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(4, 3, strides=16, padding="same", name="last"),
        keras.layers.MaxPooling2D(16, name="last"),
    ],
    ids=["same", "pooling"],
)
def test_strides_without_an_exact_counterpart_are_refused(layer):
    inputs = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="layer='last'"):
        dilate(keras.Model(inputs, layer(inputs)), 8)
