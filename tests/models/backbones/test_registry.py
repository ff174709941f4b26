"""The list of backbones: who makes them, and what their pixels were."""

import functools
import inspect
import re
import warnings

import keras
import numpy as np
import pytest

from models import BACKBONES
from models.backbones.registry import describe
from models.layers.normalization import PixelNormalization

applications = keras.applications
# By the names of a family, as a regular expression.
PREPROCESS_INPUT = {
    r"mobilenet_v2": applications.mobilenet_v2.preprocess_input,
    r"mobilenet_v3_\w+": applications.mobilenet_v3.preprocess_input,
    r"efficientnet_lite\d": lambda pixels: (pixels - 127) / 128,
    r"resnet\d+": applications.resnet.preprocess_input,
    r"resnet\d+_v2": applications.resnet_v2.preprocess_input,
    r"xception": applications.xception.preprocess_input,
    r"xception_65|resnet101_beta": lambda pixels: pixels / 127.5 - 1,
    r"resnet101_caffe": lambda pixels: pixels[..., ::-1] - (104.008, 116.669, 122.675),
    r"resnet101_(pytorch|encoding)": lambda pixels: (
        (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    ),
    r"efficientnet_b\d": applications.efficientnet.preprocess_input,
    r"efficientnet_v2_\w\d?": applications.efficientnet_v2.preprocess_input,
    r"convnext_\w+": applications.convnext.preprocess_input,
    r"densenet\d+": applications.densenet.preprocess_input,
}
# Whose ImageNet weights Keras does not offer.
OURS = [
    "xception_65",
    "resnet101_beta",
    "resnet101_caffe",
    "resnet101_pytorch",
    "resnet101_encoding",
]
LIGHT = {"mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"} | {
    f"efficientnet_lite{i}" for i in range(3)
}


@pytest.mark.parametrize("family", PREPROCESS_INPUT)
def test_normalization_is_that_of_the_training(family, images):
    pixels = images(2, 5, 7, 3)
    expected = PREPROCESS_INPUT[family](pixels.copy())
    for name in filter(re.compile(family).fullmatch, BACKBONES):
        got = PixelNormalization(**BACKBONES[name].normalization)(pixels)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_every_backbone_has_a_family():
    for name in BACKBONES:
        assert sum(bool(re.fullmatch(family, name)) for family in PREPROCESS_INPUT) == 1, name


def test_applications_are_called_as_they_are_named(monkeypatch):
    def constructor(name, **options):
        # As MobileNets do.
        warnings.warn("`rows` is not in [96]. Weights for input shape (224, 224)", stacklevel=1)
        return name, options

    makers = {
        n: f for n, f in inspect.getmembers(applications, inspect.isfunction) if n[0].isupper()
    }
    for name in makers:
        monkeypatch.setattr(applications, name, functools.partial(constructor, name))
    monkeypatch.setattr("models.backbones.registry.efficientnet_lite", lambda i, weights: i)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        made = {name: BACKBONES[name].make("imagenet") for name in BACKBONES if name not in OURS}
    options = {"include_top": False, "weights": "imagenet", "input_shape": (None, None, 3)}
    for name, made_of in made.items():
        if "lite" in name:
            assert made_of == int(name[-1])
        else:
            assert made_of[0].lower() == name.replace("_", "")
            assert made_of[1] == options


def test_heads_suit_the_backbones():
    assert {name for name, x in BACKBONES.items() if x.channels == 64} == LIGHT
    assert {x.channels for name, x in BACKBONES.items() if name not in LIGHT} == {256}
    assert {name for name, x in BACKBONES.items() if x.separable} == {
        *LIGHT,
        "xception",
        "xception_65",
    }


@pytest.mark.parametrize("name", OURS)
def test_imagenet_weights_that_nobody_offers(name):
    with pytest.raises(ValueError, match="import-checkpoint.* Received: weights='imagenet'") as e:
        BACKBONES[name].make("imagenet")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("backbone", ["vgg16", 3, None])
def test_unknown_backbone(backbone):
    with pytest.raises(ValueError, match="'mobilenet_v2', .*'resnet101', .* Received: backbone="):
        describe(backbone)
