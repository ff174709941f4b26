"""Networks of the same shapes are told apart by their layers."""

import pytest

from models.backbones.resnet_101 import resnet101
from models.layer_names import layers_of, other_layers
from tests.models.networks import twin


def layers(model):
    return layers_of(weight.path for weight in model.weights)


def test_the_flavors_of_resnet_101_are_told_apart(thin_resnet_101):
    caffe, pytorch = map(resnet101, ("resnet101_caffe", "resnet101_pytorch"))
    assert [weight.shape for weight in caffe.weights] == [
        weight.shape for weight in pytorch.weights
    ]
    assert len(other_layers(caffe, layers(pytorch))) > 90
    assert len(other_layers(pytorch, layers(caffe))) > 90


@pytest.mark.parametrize(("number", "others"), [("", []), ("_7", []), ("_b", ["conv_a_b"])])
def test_numbers_at_the_end_do_not_count(number, others):
    """Keras counts on while a process lives."""
    assert other_layers(twin("conv"), [f"conv_a{number}"]) == others
