"""Names and shapes of the published networks, whole; no network is built."""

import math

import pytest

from models.weights.slim_names import Head, slim_variables

# Weights and statistics of DeepLabV3+ on Xception-65, 21 classes: those of the Keras port
# github.com/bonlime/keras-deeplab-v3-plus, as github.com/ZFTurbo/Keras-inference-time-optimizer
# lists them in its README.
PUBLISHED = 41_258_213
XCEPTION_65 = 38_052_512
RESNET_101_BETA = 42_729_664  # counted beside keras.applications' in test_deeplab_backbones


def weights_of(*arguments, **options):
    return sum(math.prod(x.shape) for x in slim_variables(*arguments, **options).values())


def test_parameters_of_the_published_networks():
    assert weights_of("xception_65", "backbone") == XCEPTION_65
    assert weights_of("xception_65", "backbone") + weights_of("xception_65", "head") == PUBLISHED
    assert weights_of("resnet101_beta", "backbone") == RESNET_101_BETA


def test_names_of_kernels_that_are_not_separable():
    names = set(slim_variables("xception_65", "head", head=Head(separable=False)))
    # slim.repeat counts from one, inside a scope of the same name.
    assert {f"decoder/decoder_conv0/decoder_conv0_{i}/weights" for i in (1, 2)} < names
    assert "aspp3/BatchNorm/gamma" in names
    assert not [name for name in names if "pointwise" in name]


@pytest.mark.parametrize("arguments", [("resnet50", "backbone"), ("xception_65", "tail")])
def test_unknown_networks_and_parts_are_refused(arguments):
    with pytest.raises(ValueError, match=r"must be one of .* Received: \w+='(resnet50|tail)'"):
        slim_variables(*arguments)
