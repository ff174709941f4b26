"""Blocks of convolution, batch normalization and ReLU that the networks share."""

from typing import Any

import keras

from models.layers.batch_norm import BatchNorm

# A depthwise kernel sees nine inputs whatever the number of channels, but Keras' variance scaling
# counts all channels. DeepLab's own code draws depthwise kernels with this deviation.
DEPTHWISE_STDDEV = 0.33


def conv_block(
    x: keras.KerasTensor, filters: int, side: int, *, norm: BatchNorm, name: str, rate: int = 1
) -> keras.KerasTensor:
    """Apply a convolution, batch normalization and ReLU.

    Args:
        x: Features `(batch, height, width, channels)`.
        filters: Number of output channels.
        side: Side of the kernel, odd.
        norm: Of the batch normalization.
        name: Prefix of the three layers' names.
        rate: Dilation.

    Returns:
        Features `(batch, height, width, filters)`.
    """
    x = keras.layers.Conv2D(
        filters,
        side,
        dilation_rate=rate,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return keras.layers.ReLU(name=f"{name}_relu")(norm(x, f"{name}_bn"))


def separable_conv_block(
    x: keras.KerasTensor, filters: int, side: int, *, norm: BatchNorm, name: str, rate: int = 1
) -> keras.KerasTensor:
    """Apply a depthwise and a pointwise convolution, both with batch normalization and ReLU.

    Arguments and result are those of `conv_block`.
    """
    x = keras.layers.DepthwiseConv2D(
        side,
        dilation_rate=rate,
        padding="same",
        use_bias=False,
        depthwise_initializer=keras.initializers.TruncatedNormal(stddev=DEPTHWISE_STDDEV),
        name=f"{name}_depthwise",
    )(x)
    x = keras.layers.ReLU(name=f"{name}_depthwise_relu")(norm(x, f"{name}_depthwise_bn"))
    return conv_block(x, filters, 1, norm=norm, name=f"{name}_pointwise")


def conv_same(
    x: keras.KerasTensor,
    filters: int,
    side: int,
    *,
    batch_norm: dict[str, Any],
    name: str,
    stride: int = 1,
    relu: bool = True,
) -> keras.KerasTensor:
    """Apply a convolution that is padded evenly at every stride, and batch normalization.

    TensorFlow's own "same" would pad a strided kernel on maps of even sides more at the end than at
    the beginning, and so move the features by a pixel.

    Args:
        x: Features `(batch, height, width, channels)`.
        filters: Number of output channels.
        side: Side of the kernel, odd.
        batch_norm: Arguments of `keras.layers.BatchNormalization`.
        name: Of the convolution, prefix of the other layers' names.
        stride: Of the kernel.
        relu: Whether a ReLU follows.

    Returns:
        Features `(batch, ⌈height/stride⌉, ⌈width/stride⌉, filters)`.
    """
    by_hand = stride > 1 and side > 1
    if by_hand:
        x = keras.layers.ZeroPadding2D(side // 2, name=f"{name}_padding")(x)
    x = keras.layers.Conv2D(
        filters,
        side,
        strides=stride,
        padding="valid" if by_hand else "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    x = keras.layers.BatchNormalization(**batch_norm, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x
