"""Atrous consistency of real families; `test_dilate` has small networks that stride like them."""

import functools

import keras
import numpy as np
import pytest

from models import BACKBONES, dilate
from models.dilation.dilate import Grid, dilated_copy
from tests.models.dilation.consistency import (
    TOLERANCE,
    asymmetry,
    check_consistency,
    check_maps,
    distance,
    fitting_sides,
)
from tests.models.networks import fit_batch_norm

# One of each way to stride: padded, "same" and unpadded kernels, pools, nested models, gates.
FAMILIES = [
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
    "resnet101_caffe",
    "resnet101_encoding",
    "xception_65",
    "efficientnet_b1",
    "efficientnet_v2_b0",
    "efficientnet_v2_s",
    "densenet121",
]
pytestmark = pytest.mark.full

every_family = pytest.mark.parametrize("name", FAMILIES)


@functools.cache
def grid(name):
    return dilated_copy(BACKBONES[name].make(None), 32).grid


def pixels(name, *sides, batch=1, seed=2):
    """Draw noise in the range that a network takes."""
    noise = np.random.default_rng(seed).uniform(-1, 1, (batch, *sides, 3))
    noise = noise if BACKBONES[name].normalization else 127.5 * (noise + 1)
    return noise.astype(keras.config.floatx())


@functools.lru_cache(maxsize=1)  # the tests of a network follow each other
def fitted(name):
    keras.utils.set_random_seed(0)
    model = BACKBONES[name].make(None)
    fit_batch_norm(model, pixels(name, *fitting_sides(grid(name), 128, 128), batch=2, seed=0))
    return model


@every_family
def test_dense_features_hold_the_original_ones(name):
    check_consistency(fitted(name), functools.partial(pixels, name))


@every_family
def test_stride_32_is_the_original_and_maps_are_keyed_by_stride(name):
    # ConvNeXt starts with a stride of 4.
    strides = [4, 8] if name.startswith("convnext") else [2, 4, 8]
    check_maps(fitted(name), functools.partial(pixels, name), strides)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIBLINGS)
def test_dense_features_of_siblings_hold_the_original_ones(name, float64):
    fitted.cache_clear()
    check_consistency(fitted(name), functools.partial(pixels, name))
    fitted.cache_clear()


def test_grids():
    assert grid("resnet50") == grid("efficientnet_v2_b0") == grid("xception_65") == Grid(True)
    assert grid("xception") == Grid(True, 3)
    assert grid("mobilenet_v2") == grid("convnext_tiny") == grid("densenet121") == Grid(False)


@pytest.mark.parametrize("name", ["resnet50", "xception", "efficientnet_lite0"])
def test_features_of_a_corner_grid_are_centered_on_their_pixels(name):
    images = pixels(name, *fitting_sides(grid(name), 32, 64))
    assert asymmetry(dilate(fitted(name), 16), images) < 10 * TOLERANCE


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "xception", "convnext_tiny"])
def test_the_distance_sees_forgotten_dilation(name, monkeypatch):
    images = pixels(name, *fitting_sides(grid(name), 64, 96))
    network = fitted(name)
    monkeypatch.setattr("models.dilation.converter.DilationConverter._rate", lambda *_: 1)
    assert distance(dilate(network, 16)(images), network(images), 2) > 1e-3
