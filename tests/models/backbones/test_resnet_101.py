"""The flavors of ResNet-101: names, levels and where strides turn into dilation.

What they compute is in test_caffe_checkpoint and test_torch_checkpoint.
"""

import keras
import pytest

from models import BACKBONES, build_backbone
from models.backbones.resnet_101 import FLAVORS, STAGES, last_block, levels, resnet101
from tests.models.networks import THIN_WIDTHS

LEVELS = {
    "resnet101_caffe": ("conv1_relu", "res2c_relu", "res3b3_relu", "res4b22_relu", "res5c_relu"),
    "resnet101_pytorch": (
        "conv1_relu",
        "layer1_2_relu",
        "layer2_3_relu",
        "layer3_22_relu",
        "layer4_2_relu",
    ),
    "resnet101_encoding": (
        "conv1_6_relu",
        "layer1_2_relu",
        "layer2_3_relu",
        "layer3_22_relu",
        "layer4_2_relu",
    ),
}
# The 3x3 kernels of the first units of the last two stages.
FIRST = {
    "resnet101_caffe": ("res4a_branch2b", "res5a_branch2b"),
    "resnet101_pytorch": ("layer3_0_conv2", "layer4_0_conv2"),
    "resnet101_encoding": ("layer3_0_conv2", "layer4_0_conv2"),
}


def test_levels_are_the_ends_of_the_stages():
    assert {name: levels(name) for name in FLAVORS} == LEVELS
    assert {name: BACKBONES[name].levels for name in FLAVORS} == LEVELS


@pytest.mark.full
@pytest.mark.parametrize("name", FLAVORS)
def test_parameters(name):
    """Those of the usual ResNet without the biases of its kernels; more in a deep stem."""
    usual = keras.applications.ResNet101(include_top=False, weights=None)
    biases = sum(x.bias.shape[0] for x in usual.layers if getattr(x, "bias", None) is not None)
    expected = usual.count_params() - biases
    if name == "resnet101_encoding":
        kernels = 9 * (3 * 64 + 64 * 64 + 64 * 128) - 49 * 3 * 64
        expected += kernels + 4 * (64 + 128) + 64 * (64 + 256)  # norms; wider input of a stage
    assert resnet101(name).count_params() == expected


@pytest.fixture(scope="module", params=FLAVORS)
def encoder(request, thin_resnet_101):
    return request.param, build_backbone(request.param, output_stride=8).network


def test_maps_of_all_strides(encoder):
    name, network = encoder
    shapes = network.compute_output_shape((1, 65, 65, 3))
    stem = FLAVORS[name].stem[-1][1]
    assert shapes == {
        "2": (1, 33, 33, stem),
        "4": (1, 17, 17, 4 * THIN_WIDTHS[0]),
        "8": (1, 9, 9, 4 * THIN_WIDTHS[-1]),
    }


def test_dilation_of_the_first_units(encoder):
    """The kernel that took a stride is dilated by the strides before it, without its own."""
    name, network = encoder
    found = [network.get_layer(kernel).dilation_rate[0] for kernel in FIRST[name]]
    assert found == ([2, 4] if name == "resnet101_caffe" else [1, 2])


def test_multi_grid_needs_a_last_block_without_strides(thin_resnet_101):
    names = ("res5a_branch2b", "res5b_branch2b", "res5c_branch2b")
    assert last_block("resnet101_caffe") == BACKBONES["resnet101_caffe"].last_block == names
    network = build_backbone("resnet101_caffe", output_stride=8, multi_grid=(1, 2, 4)).network
    assert [network.get_layer(x).dilation_rate[0] for x in names] == [4, 8, 16]
    for name in ("resnet101_pytorch", "resnet101_encoding"):
        assert BACKBONES[name].last_block == ()


def test_stages_are_whole():
    assert STAGES == ((64, 3), (128, 4), (256, 23), (512, 3))
