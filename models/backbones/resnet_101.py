"""ResNet-101 as three published files of weights have it; layers bear the names in those files."""

import string
from collections.abc import Callable
from typing import NamedTuple

import keras

from models.layers.blocks import conv_same

# Epsilon of Caffe's and PyTorch's batch normalization.
BATCH_NORM = {"epsilon": 1e-5}

STAGES = ((64, 3), (128, 4), (256, 23), (512, 3))  # filters of the 3x3 kernels, units

# Channels of a unit's output, as a multiple of those of its 3x3 kernel.
EXPANSION = 4

# The 7x7 kernel of the paper, and three 3x3 kernels for it: name, filters, side, stride.
STEM = (("conv1", 64, 7, 2),)
DEEP_STEM = (("conv1_0", 64, 3, 2), ("conv1_3", 64, 3, 1), ("conv1_6", 128, 3, 1))


def _caffe_unit(stage: int, unit: int) -> str:
    """Name a unit: letters in stages of at most three, "a", "b1", "b2", … in longer ones."""
    _, units = STAGES[stage]
    name = string.ascii_lowercase[unit] if unit == 0 or units <= 3 else f"b{unit}"
    return f"res{stage + 2}{name}"


def _pytorch_unit(stage: int, unit: int) -> str:
    return f"layer{stage + 1}_{unit}"


class Flavor(NamedTuple):
    """What two files of ResNet-101 differ in.

    Attributes:
        stem: Kernels in front of the first pooling.
        strided: Which of a unit's three kernels takes the stride of a stage, from 0 on.
        unit: Names a unit by its stage and place, both from 0 on.
        kernels: What follows the unit's name: of its three kernels, and of the shortcut's.
    """

    stem: tuple[tuple[str, int, int, int], ...]
    strided: int
    unit: Callable[[int, int], str]
    kernels: tuple[str, str, str, str]


_PYTORCH_KERNELS = ("_conv1", "_conv2", "_conv3", "_downsample")

FLAVORS = {
    "resnet101_caffe": Flavor(
        STEM, 0, _caffe_unit, ("_branch2a", "_branch2b", "_branch2c", "_branch1")
    ),
    "resnet101_pytorch": Flavor(STEM, 1, _pytorch_unit, _PYTORCH_KERNELS),
    "resnet101_encoding": Flavor(DEEP_STEM, 1, _pytorch_unit, _PYTORCH_KERNELS),
}


def levels(name: str) -> tuple[str, ...]:
    """Name the layers of strides 2, 4, 8, 16 and 32: the ends of the stem and of the stages.

    Args:
        name: A key of `FLAVORS`.
    """
    flavor = FLAVORS[name]
    ends = [flavor.unit(stage, units - 1) for stage, (_, units) in enumerate(STAGES)]
    return tuple(f"{end}_relu" for end in (flavor.stem[-1][0], *ends))


def last_block(name: str) -> tuple[str, ...]:
    """Name the 3x3 kernels of the last stage, where none of them takes its stride."""
    flavor = FLAVORS[name]
    if flavor.strided == 1:
        return ()
    stage = len(STAGES) - 1
    return tuple(f"{flavor.unit(stage, i)}{flavor.kernels[1]}" for i in range(STAGES[stage][1]))


def resnet101(name: str) -> keras.Model:
    """Build a flavor of ResNet-101.

    Every strided kernel and the pooling are padded evenly, so that feature i lies on pixel 32·i,
    for images with sides of 32·k + 1 in the middle of what it sees. For such sides Caffe's pooling,
    which counts cut windows too, gives the same map.

    Args:
        name: "resnet101_caffe": DeepLabV2's, strides in the first 1x1 kernel of a stage.
            "resnet101_pytorch": torchvision's, strides in the first 3x3 kernel.
            "resnet101_encoding": PyTorch-Encoding's, the same behind three small kernels.

    Returns:
        A functional model from normalized images `(batch, height, width, 3)` to features
        `(batch, ⌈height/32⌉, ⌈width/32⌉, 2048)`. `levels` names the layers of the other strides.

    Example:
        >>> from models.backbones.resnet_101 import resnet101
        >>> resnet101("resnet101_caffe").compute_output_shape((1, 65, 65, 3))
        (1, 3, 3, 2048)

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", 2016; without the classifier.
    """
    flavor = FLAVORS[name]
    images = keras.Input((None, None, 3), name="images")
    x = images
    for layer, filters, side, stride in flavor.stem:
        x = conv_same(x, filters, side, stride=stride, name=layer, batch_norm=BATCH_NORM)
    # Behind a ReLU zeros around a map change no maximum.
    x = keras.layers.ZeroPadding2D(1, name="pool1_padding")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for stage, (filters, units) in enumerate(STAGES):
        for unit in range(units):
            stride = 2 if stage > 0 and unit == 0 else 1
            x = _unit(x, filters, stride, flavor, flavor.unit(stage, unit))
    return keras.Model(images, x, name=name)


def _unit(
    x: keras.KerasTensor, filters: int, stride: int, flavor: Flavor, name: str
) -> keras.KerasTensor:
    """Add a bottleneck of 1x1, 3x3 and 1x1 kernels to its input."""
    channels = EXPANSION * filters
    first, second, third, shortcut = (f"{name}{kernel}" for kernel in flavor.kernels)
    strides = [1, 1, 1]
    strides[flavor.strided] = stride
    norm = {"batch_norm": BATCH_NORM}
    y = conv_same(x, filters, 1, stride=strides[0], name=first, **norm)
    y = conv_same(y, filters, 3, stride=strides[1], name=second, **norm)
    y = conv_same(y, channels, 1, relu=False, name=third, **norm)
    if x.shape[-1] != channels or stride > 1:
        x = conv_same(x, channels, 1, stride=stride, relu=False, name=shortcut, **norm)
    return keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([x, y]))
