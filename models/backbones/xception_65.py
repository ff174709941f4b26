"""Xception-65: the aligned Xception of DeepLabV3+."""

from typing import NamedTuple

import keras

from models.layers.blocks import DEPTHWISE_STDDEV, conv_same

# Epsilon and decay of DeepLab's own training (core/feature_extractor.py).
BATCH_NORM = {"epsilon": 1e-3, "momentum": 0.9997}

# Name, filters and stride.
STEM = (("entry_flow/conv1_1", 32, 2), ("entry_flow/conv1_2", 64, 1))


class Block(NamedTuple):
    """Units of three separable convolutions.

    Attributes:
        name: As in the published code.
        depths: Channels behind each of the three.
        shortcut: What is added to them: "conv", a projection of the unit's input; "sum", the input
            itself; "none", nothing.
        units: How often the unit is repeated.
        stride: Of the third depthwise kernel and the projection.
        inner_relu: Whether ReLUs follow the depthwise and the pointwise kernels, or only precede
            the separable convolutions.
    """

    name: str
    depths: tuple[int, int, int]
    shortcut: str
    units: int = 1
    stride: int = 1
    inner_relu: bool = False


BLOCKS = (
    Block("entry_flow/block1", (128, 128, 128), "conv", stride=2),
    Block("entry_flow/block2", (256, 256, 256), "conv", stride=2),
    Block("entry_flow/block3", (728, 728, 728), "conv", stride=2),
    Block("middle_flow/block1", (728, 728, 728), "sum", units=16),
    Block("exit_flow/block1", (728, 1024, 1024), "conv", stride=2),
    Block("exit_flow/block2", (1536, 1536, 2048), "none", inner_relu=True),
)

# Layers of strides 2, 4, 8, 16 and 32. The three in the middle are those of the published decoder
# (`networks_to_feature_maps`); the first follows their rule, the last kernel before a stride.
LEVELS = (
    "entry_flow_block1_unit_1_separable_conv2_pointwise_bn",
    "entry_flow_block2_unit_1_separable_conv2_pointwise_bn",
    "entry_flow_block3_unit_1_separable_conv2_pointwise_bn",
    "exit_flow_block1_unit_1_separable_conv2_pointwise_bn",
    "exit_flow_block2_unit_1_separable_conv3_pointwise_relu",
)


def xception_65() -> keras.Model:
    """Build Xception-65: no pooling, strided kernels padded evenly, batch norm behind each kernel.

    Feature i lies on pixel 32·i, for images with sides of 32·k + 1 in the middle of what it sees.

    Returns:
        A functional model from images in [-1, 1] `(batch, height, width, 3)` to features
        `(batch, ⌈height/32⌉, ⌈width/32⌉, 2048)`. `LEVELS` names the layers of the other strides.

    Example:
        >>> from models.backbones.xception_65 import xception_65
        >>> xception_65().compute_output_shape((1, 65, 65, 3))
        (1, 3, 3, 2048)

    Reference:
        Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", 2017, with the
        changes of Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic
        Image Segmentation", 2018, section 3.2 and figure 4; layers, strides and names are those of
        `xception_65` of github.com/tensorflow/models, research/deeplab, core/xception.py.
        Deviations: kernels are drawn for their number of inputs, there with one deviation of 0.09;
        no classifier, no multi-grid rates.
    """
    images = keras.Input((None, None, 3), name="images")
    x = images
    for scope, filters, stride in STEM:
        x = conv_same(x, filters, 3, stride=stride, name=_name(scope), batch_norm=BATCH_NORM)
    for block in BLOCKS:
        for unit in range(1, block.units + 1):
            x = _unit(x, block, f"{_name(block.name)}_unit_{unit}")
    return keras.Model(images, x, name="xception_65")


def _name(scope: str) -> str:
    return scope.replace("/", "_")


def _unit(x: keras.KerasTensor, block: Block, name: str) -> keras.KerasTensor:
    residual = x
    for i, depth in enumerate(block.depths, start=1):
        residual = _separable_conv(
            residual,
            depth,
            stride=block.stride if i == len(block.depths) else 1,
            inner_relu=block.inner_relu,
            name=f"{name}_separable_conv{i}",
        )
    if block.shortcut == "none":
        return residual
    if block.shortcut == "conv":
        x = conv_same(
            x,
            block.depths[-1],
            1,
            stride=block.stride,
            relu=False,
            name=f"{name}_shortcut",
            batch_norm=BATCH_NORM,
        )
    return keras.layers.Add(name=f"{name}_add")([residual, x])


def _separable_conv(
    x: keras.KerasTensor, depth: int, *, stride: int, inner_relu: bool, name: str
) -> keras.KerasTensor:
    """Depthwise 3x3, then pointwise, batch norm behind both; ReLU in front or behind both."""
    if not inner_relu:
        x = keras.layers.ReLU(name=f"{name}_relu")(x)
    if stride > 1:
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_depthwise_padding")(x)
    x = keras.layers.DepthwiseConv2D(
        3,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        depthwise_initializer=keras.initializers.TruncatedNormal(stddev=DEPTHWISE_STDDEV),
        name=f"{name}_depthwise",
    )(x)
    x = keras.layers.BatchNormalization(**BATCH_NORM, name=f"{name}_depthwise_bn")(x)
    if inner_relu:
        x = keras.layers.ReLU(name=f"{name}_depthwise_relu")(x)
    return conv_same(x, depth, 1, relu=inner_relu, name=f"{name}_pointwise", batch_norm=BATCH_NORM)
