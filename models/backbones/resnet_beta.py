"""ResNet-101 as DeepLab uses it: a stem of three small kernels, strides at the ends of stages."""

from typing import NamedTuple

import keras

from models.layers.blocks import conv_same

# Epsilon and decay of DeepLab's own training (core/feature_extractor.py).
BATCH_NORM = {"epsilon": 1e-5, "momentum": 0.95}

STEM = (("conv1_1", 64, 2), ("conv1_2", 64, 1), ("conv1_3", 128, 1))  # name, filters, stride

# Channels of a unit's output, as a multiple of those of its 3x3 kernel.
EXPANSION = 4


class Block(NamedTuple):
    """A stage.

    Attributes:
        name: As in the published code.
        filters: Of the 3x3 kernels.
        units: Number of residual units.
        stride: Of the last unit.
    """

    name: str
    filters: int
    units: int
    stride: int


BLOCKS = (
    Block("block1", 64, 3, 2),
    Block("block2", 128, 4, 2),
    Block("block3", 256, 23, 2),
    Block("block4", 512, 3, 1),
)

# Layers of strides 2, 4, 8, 16 and 32. The three in the middle are those of the published decoder
# (`networks_to_feature_maps`): what the last unit before a stride adds to its shortcut.
LEVELS = (
    "conv1_3_relu",
    "block1_unit_2_conv3_bn",
    "block2_unit_3_conv3_bn",
    "block3_unit_22_conv3_bn",
    "block4_unit_3_relu",
)

# The 3x3 kernels of the last stage.
LAST_BLOCK = tuple(f"block4_unit_{i}_conv2" for i in (1, 2, 3))


def resnet101_beta() -> keras.Model:
    """Build ResNet-101 "v1 beta": three 3x3 kernels for the first 7x7 one, late strides.

    A stage takes its stride in its last unit, and strided kernels are padded by hand and evenly, so
    that feature i lies on pixel 32·i, for images with sides of 32·k + 1 in the middle of what it
    sees.

    Returns:
        A functional model from images in [-1, 1] `(batch, height, width, 3)` to features
        `(batch, ⌈height/32⌉, ⌈width/32⌉, 2048)`. `LEVELS` names the layers of the other strides.

    Example:
        >>> from models.backbones.resnet_beta import resnet101_beta
        >>> resnet101_beta().compute_output_shape((1, 65, 65, 3))
        (1, 3, 3, 2048)

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", 2016; this variant is
        `resnet_v1_101_beta` of github.com/tensorflow/models, research/deeplab,
        core/resnet_v1_beta.py. No classifier; multi-grid rates are `build_backbone`'s.
    """
    images = keras.Input((None, None, 3), name="images")
    x = images
    for name, filters, stride in STEM:
        x = conv_same(x, filters, 3, stride=stride, name=name, batch_norm=BATCH_NORM)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    for block in BLOCKS:
        for unit in range(1, block.units + 1):
            stride = block.stride if unit == block.units else 1
            x = _unit(x, block.filters, stride, f"{block.name}_unit_{unit}")
    return keras.Model(images, x, name="resnet101_beta")


def _unit(x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
    """Add a bottleneck of 1x1, 3x3 and 1x1 kernels to its input."""
    channels = EXPANSION * filters
    norm = {"batch_norm": BATCH_NORM}
    if x.shape[-1] != channels:
        shortcut = conv_same(
            x, channels, 1, stride=stride, relu=False, name=f"{name}_shortcut", **norm
        )
    elif stride > 1:
        shortcut = keras.layers.MaxPooling2D(1, strides=stride, name=f"{name}_shortcut")(x)
    else:
        shortcut = x
    x = conv_same(x, filters, 1, name=f"{name}_conv1", **norm)
    x = conv_same(x, filters, 3, stride=stride, name=f"{name}_conv2", **norm)
    x = conv_same(x, channels, 1, relu=False, name=f"{name}_conv3", **norm)
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.ReLU(name=f"{name}_relu")(x)
