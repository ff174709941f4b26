"""Maps of features at every stride, of small networks and of those in the registry."""

import dataclasses

import keras
import pytest

import models
from models import BACKBONES, build_backbone
from models.layers.batch_norm import BatchNorm
from tests.models.networks import backbone, batch_norm_layers, build

full = pytest.mark.full


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_maps_are_keyed_by_stride(output_stride, images):
    encoder = build_backbone(backbone("padded"), output_stride=output_stride)
    maps = encoder.maps(images(1, 64, 96, 3))
    assert list(maps) == [s for s in (2, 4, 8, 16, 32) if s <= output_stride]
    for stride, features in maps.items():
        assert features.shape[:3] == (1, 64 // stride, 96 // stride)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("mobilenet_v2", [16, 144, 32, 320]),
        ("efficientnet_lite0", [16, 144, 240, 320]),
        pytest.param("resnet50", [64, 256, 512, 2048], marks=full),
        pytest.param("xception", [128, 256, 728, 2048], marks=full),
        pytest.param("xception_65", [128, 256, 728, 2048], marks=full),
        pytest.param("convnext_tiny", [96, 192, 768], marks=full),
        pytest.param("densenet121", [64, 128, 256, 1024], marks=full),
    ],
)
def test_levels_are_the_last_features_before_a_stride(name, channels):
    maps = build_backbone(name, output_stride=16).network.output
    strides = [4, 8, 16] if name.startswith("convnext") else [2, 4, 8, 16]
    assert [maps[str(stride)].shape[-1] for stride in strides] == channels
    assert len(maps) == len(strides)


@full
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


def test_epsilon_is_the_networks_own():
    layers = [keras.layers.Conv2D(4, 8, strides=8), keras.layers.BatchNormalization(epsilon=0.02)]
    network = keras.Sequential([keras.Input((None, None, 3)), *layers])
    encoder = build_backbone(
        network, output_stride=8, batch_norm=BatchNorm(momentum=0.7, epsilon=0.1)
    )
    (layer,) = batch_norm_layers(encoder.network)
    assert (layer.epsilon, layer.momentum, layer.synchronized) == (0.02, 0.7, True)


def test_imagenet_is_passed_on(monkeypatch):
    """The download itself needs a network: here another one stands in for what it brings."""
    asked = []

    def make(weights):
        asked.append(weights)
        return backbone()

    stand_in = dataclasses.replace(BACKBONES["resnet50"], make=make)
    monkeypatch.setitem(BACKBONES, "resnet50", stand_in)
    model = build(backbone="resnet50", weights="imagenet", channels=None)
    assert asked == ["imagenet"]
    # What the registry says of a backbone reaches the network.
    assert model.get_layer("aspp_project_conv").filters == stand_in.channels
    assert model.get_layer("normalization").bgr


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
    network = chain({"kernel_size": 8, "strides": 8})
    network.trainable = False
    encoder = build_backbone(network, output_stride=8)
    assert not encoder.network.trainable_variables


def test_a_backbone_of_other_images_is_refused():
    inputs = keras.Input((None, None, 4))
    network = keras.Model(inputs, keras.layers.Conv2D(4, 8, strides=8)(inputs))
    with pytest.raises(ValueError, match="3 channels. Received: a model of 4 channels"):
        models.build("deeplab_v3", backbone=network, num_classes=2, output_stride=8)
