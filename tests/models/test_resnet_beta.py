"""The layers of ResNet-101 beta; what they compute is in test_slim_checkpoint."""

import functools

import keras
import numpy as np
import pytest

import models
from models.resnet_beta import LEVELS, resnet101_beta

from .slim_reference import distance, fit_batch_norm


@functools.cache
def network():
    keras.utils.set_random_seed(0)
    model = resnet101_beta()
    fit_batch_norm(model, noise(65, batch=2))
    return model


def noise(*sides, batch=1):
    sides = sides if len(sides) == 2 else sides * 2
    return np.random.default_rng(0).normal(0, 1, (batch, *sides, 3)).astype("float32")


@functools.cache
def mirrored():
    """A copy that sees left as right."""
    copy = keras.models.clone_model(network())
    copy.set_weights([w[:, ::-1] if w.ndim == 4 else w for w in network().get_weights()])
    return copy


def test_parameters_beside_those_of_the_usual_resnet():
    usual = keras.applications.ResNet101(include_top=False, weights=None)
    biases = sum(x.bias.shape[0] for x in usual.layers if getattr(x, "bias", None) is not None)
    stem = 27 * 64 + 9 * 64 * 64 + 9 * 64 * 128 + 4 * (64 + 64 + 128)
    usual_stem = 49 * 3 * 64 + 4 * 64
    # The first unit's 1x1 kernels see 128 channels instead of 64.
    first = 64 * (64 + 256)
    expected = usual.count_params() - biases - usual_stem + stem + first
    assert network().count_params() == expected == 42_729_664


@pytest.mark.parametrize(("side", "features"), [(33, 2), (65, 3), (64, 2), (32, 1), (1, 1)])
def test_features_of_every_size(side, features):
    shape = network().compute_output_shape((1, side, side, 3))
    assert shape == (1, features, features, 2048)


def test_levels_have_their_strides():
    levels = keras.Model(network().input, [network().get_layer(name).output for name in LEVELS])
    assert levels.compute_output_shape((1, 257, 129, 3)) == [
        (1, 129, 65, 128),
        (1, 65, 33, 256),
        (1, 33, 17, 512),
        (1, 17, 9, 1024),
        (1, 9, 5, 2048),
    ]


def asymmetry(side):
    """How much the features of a mirrored image differ from mirrored features."""
    images = noise(side)
    features = mirrored()(images[:, :, ::-1])
    return distance(np.asarray(features)[:, :, ::-1], network()(images))


@pytest.mark.parametrize("side", [33, 65])
def test_features_lie_in_the_middle_of_what_they_see(side):
    assert asymmetry(side) < 0.05


def test_even_sides_have_no_middle():
    assert asymmetry(64) > 1


def test_dense_features_hold_the_original_ones():
    images = noise(33, 65)
    dense = models.dilate(network(), 8)(images)
    assert distance(dense[:, ::4, ::4], network()(images)) < 0.05


def test_batch_norm_of_the_published_network():
    layers = [x for x in network().layers if isinstance(x, keras.layers.BatchNormalization)]
    assert {layer.epsilon for layer in layers} == {1e-5}
