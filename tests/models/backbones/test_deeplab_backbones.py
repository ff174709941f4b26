"""The layers of DeepLab's own two backbones.

What they compute is in test_slim_checkpoint, that they dilate in test_dilation.
"""

import keras
import numpy as np
import pytest

from models.backbones import resnet_beta, xception_65
from tests.models.weights.slim_reference import distance, fit_batch_norm

BACKBONES = {
    "xception_65": (xception_65.xception_65, xception_65.LEVELS),
    "resnet101_beta": (resnet_beta.resnet101_beta, resnet_beta.LEVELS),
}


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request):
    """Name, network and levels."""
    make, levels = BACKBONES[request.param]
    keras.utils.set_random_seed(0)
    network = make()
    fit_batch_norm(network, noise(65, batch=2))
    return request.param, network, levels


def noise(side, batch=1):
    return np.random.default_rng(0).normal(0, 1, (batch, side, side, 3)).astype("float32")


def test_parameters_of_xception_65():
    """Those of the published network, see test_slim_checkpoint, without the head's."""
    assert xception_65.xception_65().count_params() == 38_052_512


def test_parameters_beside_those_of_the_usual_resnet():
    usual = keras.applications.ResNet101(include_top=False, weights=None)
    biases = sum(x.bias.shape[0] for x in usual.layers if getattr(x, "bias", None) is not None)
    stem = 27 * 64 + 9 * 64 * 64 + 9 * 64 * 128 + 4 * (64 + 64 + 128)
    usual_stem = 49 * 3 * 64 + 4 * 64
    # The first unit's 1x1 kernels see 128 channels instead of 64.
    first = 64 * (64 + 256)
    expected = usual.count_params() - biases - usual_stem + stem + first
    assert resnet_beta.resnet101_beta().count_params() == expected == 42_729_664


@pytest.mark.parametrize(("side", "features"), [(33, 2), (65, 3), (64, 2), (32, 1), (1, 1)])
def test_features_of_every_size(backbone, side, features):
    _, network, _ = backbone
    assert network.compute_output_shape((1, side, side, 3)) == (1, features, features, 2048)


def test_levels_have_their_strides(backbone):
    name, network, names = backbone
    levels = keras.Model(network.input, [network.get_layer(level).output for level in names])
    assert levels.compute_output_shape((1, 257, 129, 3)) == [
        (1, 129, 65, 128),
        (1, 65, 33, 256),
        (1, 33, 17, 728 if name == "xception_65" else 512),
        (1, 17, 9, 1024),
        (1, 9, 5, 2048),
    ]


@pytest.mark.parametrize("side", [33, 65, 64])
def test_features_lie_in_the_middle_of_what_they_see(backbone, side):
    """A network that sees left as right gives the mirrored features of a mirrored image."""
    _, network, _ = backbone
    mirrored = keras.models.clone_model(network)
    mirrored.set_weights([w[:, ::-1] if w.ndim == 4 else w for w in network.get_weights()])
    features = mirrored(noise(side)[:, :, ::-1])
    asymmetry = distance(np.asarray(features)[:, :, ::-1], network(noise(side)))
    if side % 2:
        assert asymmetry < 0.05
    else:  # an even side has no middle
        assert asymmetry > 1


def test_batch_norm_of_the_published_networks(backbone):
    name, network, _ = backbone
    layers = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert {layer.epsilon for layer in layers} == {1e-3 if name == "xception_65" else 1e-5}
