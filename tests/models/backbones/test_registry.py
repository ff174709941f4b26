import dataclasses
import warnings

import keras
import numpy as np
import pytest

import models
from models import BACKBONES, build_backbone
from models.layers.batch_norm import BatchNorm
from models.layers.normalization import PixelNormalization

applications = keras.applications
PREPROCESS_INPUT = {
    "mobilenet_v2": applications.mobilenet_v2.preprocess_input,
    "mobilenet_v3_small": applications.mobilenet_v3.preprocess_input,
    "resnet50": applications.resnet.preprocess_input,
    "resnet101": applications.resnet.preprocess_input,
    "resnet50_v2": applications.resnet_v2.preprocess_input,
    "xception": applications.xception.preprocess_input,
    "efficientnet_b0": applications.efficientnet.preprocess_input,
    "efficientnet_v2_b0": applications.efficientnet_v2.preprocess_input,
    "convnext_tiny": applications.convnext.preprocess_input,
    "densenet121": applications.densenet.preprocess_input,
}


@pytest.mark.parametrize("name", PREPROCESS_INPUT)
def test_normalization_is_that_of_keras_applications(name, images):
    pixels = images(2, 5, 7, 3)
    got = PixelNormalization(**BACKBONES[name].normalization)(pixels)
    np.testing.assert_allclose(got, PREPROCESS_INPUT[name](pixels.copy()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_maps_are_keyed_by_stride(output_stride, images):
    maps = build_backbone("mobilenet_v2", output_stride=output_stride).maps(images(1, 64, 96, 3))
    assert list(maps) == [s for s in (2, 4, 8, 16, 32) if s <= output_stride]
    for stride, features in maps.items():
        assert features.shape[:3] == (1, 64 // stride, 96 // stride)
    assert maps[output_stride].shape[-1] == 320


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet50", [64, 256, 512, 2048]),
        ("xception", [128, 256, 728, 2048]),
        ("xception_65", [128, 256, 728, 2048]),
        ("efficientnet_lite0", [16, 144, 240, 320]),
        ("convnext_tiny", [96, 192, 768]),
        ("densenet121", [64, 128, 256, 1024]),
    ],
)
def test_levels_are_the_last_features_before_a_stride(name, channels):
    maps = build_backbone(name, output_stride=16).network.output
    strides = [4, 8, 16] if name.startswith("convnext") else [2, 4, 8, 16]
    assert [maps[str(stride)].shape[-1] for stride in strides] == channels
    assert len(maps) == len(strides)


@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("resnet101", []),
        ("mobilenet_v2", ["Conv_1", "Conv_1_bn"]),
        ("efficientnet_lite0", ["head_conv", "head_bn"]),
    ],
)
def test_backbone_has_all_parameters_that_features_need(name, unused):
    original = BACKBONES[name].make(None)
    unused = sum(original.get_layer(layer).count_params() for layer in unused)
    network = build_backbone(name, output_stride=8).network
    assert network.count_params() == original.count_params() - unused


def batch_norm_layers(encoder):
    layers = encoder.network.layers
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]


def test_epsilon_is_the_networks_own():
    for name, epsilon in (("mobilenet_v2", 1e-3), ("resnet50", 1.001e-5)):
        encoder = build_backbone(name, batch_norm=BatchNorm(momentum=0.7, epsilon=0.1))
        assert {layer.epsilon for layer in batch_norm_layers(encoder)} == {epsilon}
        assert {layer.momentum for layer in batch_norm_layers(encoder)} == {0.7}


def stand_in(monkeypatch, name, make):
    monkeypatch.setitem(BACKBONES, name, dataclasses.replace(BACKBONES[name], make=make))


def test_imagenet_is_passed_on(monkeypatch):
    """The download itself needs a network: here random weights stand in for what it brings."""
    asked = []

    def make(weights):
        asked.append(weights)
        return applications.MobileNetV2(
            include_top=False, weights=None, input_shape=(None, None, 3)
        )

    stand_in(monkeypatch, "mobilenet_v2", make)
    models.build("deeplab_v3_plus", backbone="mobilenet_v2", num_classes=2, weights="imagenet")
    assert asked == ["imagenet"]


def test_applications_are_made_without_a_warning(monkeypatch):
    def constructor(**options):
        warnings.warn("`rows` is not in [96]. Weights for input shape (224, 224)", stacklevel=1)
        return options

    monkeypatch.setattr(keras.applications, "MobileNetV2", constructor)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        options = BACKBONES["mobilenet_v2"].make("imagenet")
    assert options == {
        "include_top": False,
        "weights": "imagenet",
        "input_shape": (None, None, 3),
    }


@pytest.mark.parametrize("name", ["xception_65", "resnet101_beta"])
def test_imagenet_weights_that_nobody_offers(name):
    with pytest.raises(ValueError, match="import-checkpoint.* Received: weights='imagenet'") as e:
        build_backbone(name, weights="imagenet")
    assert "\n" not in str(e.value)


def small_network():
    x = inputs = keras.Input((None, None, 3))
    for filters in (4, 8, 8, 8):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.Model(inputs, x)


@pytest.mark.parametrize("architecture", models.ARCHITECTURES)
def test_a_backbone_of_ones_own_keeps_its_weights(architecture, images):
    network = small_network()
    model = models.build(
        architecture, backbone=network, num_classes=4, output_stride=8, batch_norm_momentum=0.5
    )
    assert model(images(1, 33, 41, 3)).shape == (1, 33, 41, 4)
    copied = model.get_layer("backbone").get_weights()
    for got, weight in zip(copied, network.get_weights(), strict=True):
        np.testing.assert_array_equal(got, weight)
    with pytest.raises(ValueError, match="a model has its own. Received: weights='imagenet'"):
        models.build(architecture, backbone=network, num_classes=4, weights="imagenet")


def test_a_backbone_without_features_of_stride_4():
    inputs = keras.Input((None, None, 3))
    network = keras.Model(inputs, keras.layers.Conv2D(4, 8, strides=8)(inputs))
    assert models.build("deeplab_v3", backbone=network, num_classes=2, output_stride=8)
    with pytest.raises(ValueError, match=r"features of stride 4. Received: strides \(8,\)"):
        models.build("deeplab_v3_plus", backbone=network, num_classes=2, output_stride=8)


def chain(*options):
    x = inputs = keras.Input((None, None, 3))
    for layer in options:
        x = keras.layers.Conv2D(3, **layer)(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    "unpadded",
    [
        [{"kernel_size": 3}, {"kernel_size": 2, "strides": 2}] * 4,
        [{"kernel_size": 3, "strides": 2, "padding": "same"}, {"kernel_size": 3}] * 4,
    ],
    ids=["cells", "corners"],
)
def test_maps_that_would_not_lie_on_each_other_are_refused(unpadded):
    with pytest.raises(ValueError, match="cut off borders .* Received: features of stride"):
        models.build("deeplab_v3", backbone=chain(*unpadded), num_classes=2, output_stride=16)


def test_what_is_frozen_stays_frozen():
    network = small_network()
    network.trainable = False
    encoder = build_backbone(network, output_stride=8)
    assert not encoder.network.trainable_variables


def test_a_backbone_of_other_images_is_refused():
    inputs = keras.Input((None, None, 4))
    network = keras.Model(inputs, keras.layers.Conv2D(4, 8, strides=8)(inputs))
    with pytest.raises(ValueError, match="3 channels. Received: a model of 4 channels"):
        models.build("deeplab_v3", backbone=network, num_classes=2, output_stride=8)


@pytest.mark.parametrize("backbone", ["vgg16", 3, None])
def test_unknown_backbone(backbone):
    with pytest.raises(ValueError, match="'mobilenet_v2', .*'resnet101', .* Received: backbone="):
        build_backbone(backbone)


def test_builds_under_a_strategy_scope(two_replicas):
    with two_replicas.scope():
        assert build_backbone("mobilenet_v2").network.count_params() > 0
