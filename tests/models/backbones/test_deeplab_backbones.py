"""The layers of DeepLab's own two backbones, thin and whole.

What they compute is in test_slim_checkpoint, that they dilate in test_families.
"""

import contextlib
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from models.backbones import resnet_beta, xception_65
from tests.models.networks import batch_norm_layers, fit_batch_norm, thin_deeplab_backbones
from tests.models.weights.slim_reference import distance
from tests.models.weights.test_slim_names import RESNET_101_BETA, XCEPTION_65

BACKBONES = {"xception_65": xception_65, "resnet101_beta": resnet_beta}
CHANNELS = {
    "xception_65": [128, 256, 728, 1024, 2048],
    "resnet101_beta": [128, 256, 512, 1024, 2048],
    "thin xception_65": [8, 12, 16, 20, 28],
    "thin resnet101_beta": [8, 24, 32, 48, 40],
}


@pytest.fixture(
    scope="module",
    params=[
        "thin xception_65",
        "thin resnet101_beta",
        *(pytest.param(name, marks=pytest.mark.full) for name in BACKBONES),
    ],
)
def backbone(request):
    """Build a network; its name and the names of its levels."""
    thin, name = "thin" in request.param, request.param.split()[-1]
    levels = BACKBONES[name].LEVELS
    if thin:  # of 23 units four are left
        levels = [level.replace("unit_22", "unit_3") for level in levels]
    with thin_deeplab_backbones() if thin else contextlib.nullcontext():
        keras.utils.set_random_seed(0)
        network = getattr(BACKBONES[name], name)()
    fit_batch_norm(network, noise(65, batch=2))
    mirrored = keras.models.clone_model(network)
    mirrored.set_weights([w[:, ::-1] if w.ndim == 4 else w for w in network.get_weights()])
    return SimpleNamespace(
        kind=request.param, name=name, network=network, levels=levels, mirrored=mirrored
    )


def noise(side, batch=1):
    return np.random.default_rng(0).normal(0, 1, (batch, side, side, 3)).astype("float32")


@pytest.mark.full
def test_parameters():
    """Beside those of the usual ResNet."""
    usual = keras.applications.ResNet101(include_top=False, weights=None)
    biases = sum(x.bias.shape[0] for x in usual.layers if getattr(x, "bias", None) is not None)
    stem = 27 * 64 + 9 * 64 * 64 + 9 * 64 * 128 + 4 * (64 + 64 + 128)
    usual_stem = 49 * 3 * 64 + 4 * 64
    # The first unit's 1x1 kernels see 128 channels instead of 64.
    first = 64 * (64 + 256)
    expected = usual.count_params() - biases - usual_stem + stem + first
    assert resnet_beta.resnet101_beta().count_params() == expected == RESNET_101_BETA
    assert xception_65.xception_65().count_params() == XCEPTION_65


def test_features_of_every_size(backbone):
    for side, features in ((33, 2), (65, 3), (64, 2), (32, 1), (1, 1)):
        shape = backbone.network.compute_output_shape((1, side, side, 3))
        assert shape[1:3] == (features, features)


def test_levels_have_their_strides(backbone):
    outputs = [backbone.network.get_layer(level).output for level in backbone.levels]
    found = keras.Model(backbone.network.input, outputs).compute_output_shape((1, 257, 129, 3))
    sides = ((129, 65), (65, 33), (33, 17), (17, 9), (9, 5))
    expected = zip(sides, CHANNELS[backbone.kind], strict=True)
    assert found == [(1, *side, channels) for side, channels in expected]


@pytest.mark.parametrize("side", [33, 65, 64])
def test_features_lie_in_the_middle_of_what_they_see(backbone, side):
    """A network that sees left as right gives the mirrored features of a mirrored image."""
    features = backbone.mirrored(noise(side)[:, :, ::-1])
    asymmetry = distance(np.asarray(features)[:, :, ::-1], backbone.network(noise(side)))
    if side % 2:
        assert asymmetry < 0.05
    else:  # an even side has no middle
        assert asymmetry > 1


def test_batch_norm_of_the_published_networks(backbone):
    epsilon = 1e-3 if backbone.name == "xception_65" else 1e-5
    assert {layer.epsilon for layer in batch_norm_layers(backbone.network)} == {epsilon}
