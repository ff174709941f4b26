import dataclasses
import warnings

import keras
import numpy as np
import pytest

import models
from models import BACKBONES, build_backbone, feature_maps
from models.backbones import get_backbone
from models.layers import PixelNormalization

PREPROCESS_INPUT = {
    "mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,
    "resnet50": keras.applications.resnet.preprocess_input,
    "resnet101": keras.applications.resnet.preprocess_input,
}


@pytest.mark.parametrize("name", BACKBONES)
def test_normalization_is_that_of_keras_applications(name, images):
    pixels = images(2, 5, 7, 3)
    got = PixelNormalization(**get_backbone(name).normalization)(pixels)
    np.testing.assert_allclose(got, PREPROCESS_INPUT[name](pixels.copy()), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_maps_are_keyed_by_stride(output_stride, images):
    backbone = build_backbone("mobilenet_v2", output_stride=output_stride)
    maps = feature_maps(backbone, images(1, 64, 96, 3))
    assert list(maps) == [s for s in (2, 4, 8, 16, 32) if s <= output_stride]
    for stride, features in maps.items():
        assert features.shape[:3] == (1, 64 // stride, 96 // stride)
    assert maps[output_stride].shape[-1] == 320


@pytest.mark.parametrize("name", ["resnet50", "resnet101"])
def test_resnet_backbone_has_all_parameters(name):
    original = BACKBONES[name].constructor(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    backbone = build_backbone(name, output_stride=8)
    assert backbone.count_params() == original.count_params()
    assert [x.shape[-1] for x in backbone.outputs] == [64, 256, 2048]


def test_mobilenet_backbone_ends_before_the_classifier_features():
    original = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    unused = [original.get_layer(name).count_params() for name in ("Conv_1", "Conv_1_bn")]
    assert build_backbone("mobilenet_v2").count_params() == original.count_params() - sum(unused)


def test_epsilon_is_the_networks_own():
    for name, epsilon in (("mobilenet_v2", 1e-3), ("resnet50", 1.001e-5)):
        backbone = build_backbone(name)
        found = {
            layer.epsilon
            for layer in backbone.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        }
        assert found == {epsilon}


def test_imagenet_is_passed_on_without_a_warning(monkeypatch):
    """The download itself needs a network: here random weights stand in for what it brings."""
    asked = []

    def constructor(*, weights, **options):
        asked.append(weights)
        warnings.warn("`rows` is not in [96]. Weights for input shape (224, 224)", stacklevel=1)
        return keras.applications.MobileNetV2(weights=None, **options)

    stand_in = dataclasses.replace(BACKBONES["mobilenet_v2"], constructor=constructor)
    monkeypatch.setitem(BACKBONES, "mobilenet_v2", stand_in)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        models.build("deeplab_v3_plus", backbone="mobilenet_v2", classes=2, weights="imagenet")
    assert asked == ["imagenet"]


def test_unknown_backbone():
    with pytest.raises(ValueError, match="'mobilenet_v2', 'resnet50', 'resnet101'.*'vgg16'"):
        build_backbone("vgg16")


def test_builds_under_a_strategy_scope(two_replicas):
    with two_replicas.scope():
        assert build_backbone("mobilenet_v2").count_params() > 0
