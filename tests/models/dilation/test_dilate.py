"""Atrous consistency: the same weights at every output stride give the same features."""

import functools

import keras
import numpy as np
import pytest

from models import BACKBONES, dilate
from models.dilation.dilate import Grid, dilated_copy

# Of the largest feature. Float32 sums in another order.
TOLERANCE = 1e-5
# One of each way to stride: padded, "same" and unpadded kernels, pools, nested models, gates.
KINDS = [
    "mobilenet_v2",
    "resnet50",
    "xception",
    "efficientnet_lite0",
    "efficientnet_b0",
    pytest.param("convnext_tiny", marks=pytest.mark.slow),
]
# In float64: the deepest networks make 1e-3 of a rounding in float32.
SIBLINGS = [
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_lite2",
    "resnet101",
    "resnet50_v2",
    "resnet101_beta",
    "xception_65",
    "efficientnet_b1",
    "efficientnet_v2_b0",
    "efficientnet_v2_s",
    "densenet121",
]


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


def batch_norm_layers(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def leaves(model):
    """Layers, those of nested models among them: in the copy they are layers like all others."""
    for layer in model.layers:
        yield from leaves(layer) if isinstance(layer, keras.Model) else [layer]


def fit_batch_norm(model, images):
    """Set all statistics to those of `images`, and let every branch count.

    With the statistics and offsets a new network has, features shrink from layer to layer and the
    padding hardly matters: a test on them would overlook a forgotten dilation.
    """
    rng = np.random.default_rng(1)
    layers = batch_norm_layers(model)
    for layer in layers:
        layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
        layer.beta.assign(rng.uniform(-0.5, 0.5, layer.beta.shape))
        layer.momentum = 0.0  # one call replaces the statistics
    for layer in leaves(model):
        if "layer_scale" in layer.name:  # ConvNeXt's branches start at 1e-6
            layer.gamma.assign(rng.uniform(0.1, 0.3, layer.gamma.shape))
        if (
            isinstance(layer, keras.layers.Normalization) and layer.weights
        ):  # as trained weights have them
            mean, variance, *count = layer.get_weights()
            layer.set_weights([mean + 0.4, variance * 0.05, *count])
            layer.finalize_state()
    model(images, training=True)


def pixels(name, *sides, batch=1, seed=2):
    """Noise in the range that a network takes."""
    noise = np.random.default_rng(seed).uniform(-1, 1, (batch, *sides, 3))
    noise = noise if BACKBONES[name].normalization else 127.5 * (noise + 1)
    return noise.astype(keras.config.floatx())


def original(name):
    keras.utils.set_random_seed(0)
    model = BACKBONES[name].make(None)
    fit_batch_norm(model, pixels(name, *fitting_sides(name, 128, 128), batch=2, seed=0))
    return model


@functools.lru_cache(maxsize=1)  # the tests of a network follow each other
def fitted(name):
    return original(name)


@functools.cache
def grid(name):
    return dilated_copy(BACKBONES[name].make(None), 32).grid


def fitting_sides(name, *sides):
    """Sides near multiples of 32 at which strided kernels start at the cells they always do."""
    added = 1 + 2 * grid(name).margin if grid(name).corners else 0
    return [side + added for side in sides]


def distance(dense, sparse, step):
    dense, sparse = np.asarray(dense)[:, ::step, ::step], np.asarray(sparse)
    assert dense.shape == sparse.shape
    assert np.std(sparse, axis=(0, 1, 2)).mean() > 1e-3 * np.abs(sparse).max()  # varies in space
    return np.abs(dense - sparse).max() / np.abs(sparse).max()


def check_consistency(name):
    for sides in ([64, 96], [96, 32]):
        images = pixels(name, *fitting_sides(name, *sides))
        sparse = fitted(name)(images)
        for output_stride in (8, 16):
            dense = dilate(fitted(name), output_stride)(images)
            corner = int(grid(name).corners)
            assert dense.shape[1:3] == tuple(side // output_stride + corner for side in sides)
            assert distance(dense, sparse, 32 // output_stride) < TOLERANCE


def test_dense_features_hold_the_original_ones(kind):
    check_consistency(kind)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIBLINGS)
def test_dense_features_of_siblings_hold_the_original_ones(name, float64):
    fitted.cache_clear()
    check_consistency(name)
    fitted.cache_clear()


def test_stride_32_is_the_original_and_maps_are_keyed_by_stride(kind):
    network, sides = fitted(kind), fitting_sides(kind, 64, 96)
    images = pixels(kind, *sides)
    np.testing.assert_array_equal(dilate(network, 32)(images), network(images))
    maps = dilate(network, 8, maps=True)(images)
    strides = [int(stride) for stride in maps]
    assert strides in ([2, 4, 8], [4, 8])  # ConvNeXt starts with a stride of 4
    for stride, features in zip(strides, maps.values(), strict=True):
        corner = int(grid(kind).corners)
        assert features.shape[1:3] == (64 // stride + corner, 96 // stride + corner)


def test_weights_are_the_original_ones(kind):
    network = fitted(kind)
    copy = dilate(network, 8)
    assert copy.count_params() == network.count_params()
    for layer in leaves(network):
        copied = copy.get_layer(layer.name).get_weights() if layer.weights else []
        for got, weight in zip(copied, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(got, weight)


def test_grids():
    assert grid("resnet50") == grid("efficientnet_v2_b0") == grid("xception_65") == Grid(True)
    assert grid("xception") == Grid(True, 3)
    assert grid("mobilenet_v2") == grid("convnext_tiny") == grid("densenet121") == Grid(False)


def test_features_of_a_corner_grid_are_centered_on_their_pixels():
    """What mirrors the image mirrors the features, if the kernels are symmetric."""
    for name in ("resnet50", "xception", "efficientnet_lite0"):
        network = dilate(fitted(name), 16)
        for weight in network.trainable_variables:
            if len(weight.shape) == 4:
                weight.assign((weight + np.flip(weight, axis=1)) / 2)
        images = pixels(name, *fitting_sides(name, 32, 64))
        features = network(images)
        mirrored = network(images[:, :, ::-1])[:, :, ::-1]
        assert np.abs(mirrored - features).max() < 10 * TOLERANCE * np.abs(features).max()


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "xception", "convnext_tiny"])
def test_the_distance_sees_forgotten_dilation(name, monkeypatch):
    images = pixels(name, *fitting_sides(name, 64, 96))
    monkeypatch.setattr("models.dilation.converter.DilationConverter._rate", lambda walk, place: 1)
    wrong = dilate(fitted(name), 16)(images)
    assert distance(wrong, fitted(name)(images), 2) > 1e-3


def test_the_distance_sees_forgotten_padding():
    network = fitted("mobilenet_v2")
    right = dilate(network, 16)
    assert right.get_layer("block_13_depthwise_padding").padding == ((0, 2), (0, 2))

    def wrong(layer):
        config = layer.get_config()
        if layer.name == "block_13_depthwise_padding":
            config["padding"] = ((1, 1), (1, 1))  # as an unstrided kernel usually is
        return type(layer).from_config(config)

    copy = keras.models.clone_model(right, clone_function=wrong)
    copy.set_weights(right.get_weights())
    images = pixels("mobilenet_v2", 64, 96)
    assert distance(copy(images), network(images), 2) > 1e-3


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


def network_of(*layers):
    x = inputs = keras.Input((None, None, 3))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def test_a_network_of_ones_own():
    """Nested models, pools of both kinds, even kernels, a gate of the whole image."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
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


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [keras.layers.Conv2D(4, 8, strides=8)]
            + [keras.layers.Conv2D(4, 3, strides=2, padding="same", name="last")],
            "centered on cells. Received: layer='last'",
        ),
        ([keras.layers.Conv2D(4, 3, strides=16, name="last")], "must reach 8 before .*'last'"),
        ([keras.layers.Conv2D(4, (1, 7), name="last")], "must be square. .*'last'"),
        ([keras.layers.UpSampling2D(2, name="last")], "may change the size .*'last'"),
        ([keras.layers.Flatten(name="last")], "may change the size .*'last'"),
        ([lambda x: keras.ops.max_pool(x, 2, 2)], "may change the size .*'max_pool"),
        ([lambda x: x[:, ::2, ::2]], "may change the size .*'get_item"),
        ([lambda x: x * keras.ops.mean(x, (1, 2), keepdims=True)], "may change the size .*'mean"),
        ([keras.layers.Conv2DTranspose(3, 3, padding="same", name="last")], "more than one cell"),
        (
            [keras.layers.GroupNormalization(1, name="last")],
            "more than one cell. Received: .*'last'",
        ),
        (
            [keras.layers.Conv2D(4, 3, strides=2, padding="same") for _ in range(4)]
            + [keras.layers.MaxPooling2D(2)],
            "are centered on cells",
        ),
        (
            [keras.layers.Conv2D(4, 3, strides=2, padding="same") for _ in range(3)]
            + [keras.layers.ZeroPadding2D(1)]
            + [keras.layers.Conv2D(4, 3, strides=2, padding="same", name="last")],
            "own padding is \"valid\".*'last'",
        ),
        ([keras.layers.Conv2D(4, 3, strides=4)], "at most that of the backbone, 4"),
    ],
    ids=["asymmetric", "leap", "oblong", "enlarging", "flat", "pool", "slice", "gate"]
    + ["transposed", "groups", "even at the end", "padded twice", "shallow"],
)
def test_what_cannot_be_dilated_is_named(layers, message):
    with pytest.raises(ValueError, match=message) as error:
        dilate(network_of(*layers), 8)
    assert "\n" not in str(error.value)


def test_several_outputs_are_refused():
    inputs = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="1 inputs, 2 outputs"):
        dilate(keras.Model(inputs, [inputs, inputs]), 8)


def test_a_classifier_is_refused():
    network = keras.applications.MobileNetV2(weights=None)
    with pytest.raises(ValueError, match=r"include_top=False\). Received: .*\(None, 1000\)"):
        dilate(network, 8)


def test_models_without_a_graph_are_refused():
    class Subclassed(keras.Model):
        pass

    for model in (Subclassed(), keras.Sequential([keras.layers.Conv2D(3, 3)])):
        with pytest.raises(ValueError, match="functional or sequential, .* 0 inputs") as error:
            dilate(model, 8)
        assert "\n" not in str(error.value)


def test_a_sequential_network_of_one_size_takes_all():
    network = keras.Sequential(
        [keras.Input((64, 64, 3)), *[keras.layers.Conv2D(4, 2, strides=2) for _ in range(4)]]
    )
    images = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    dense = dilate(network, 8)
    assert distance(dense(images), network(images), 2) < TOLERANCE
    assert dense(np.zeros((1, 32, 96, 3))).shape == (1, 4, 12, 4)


def shared(block):
    """A block called at two strides."""
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
