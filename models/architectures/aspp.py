"""Atrous spatial pyramid pooling."""

from collections.abc import Sequence

import keras

from models.layers.batch_norm import BatchNorm
from models.layers.blocks import conv_block, separable_conv_block
from models.layers.sizes import ResizeLike


def rates_at(output_stride: int, rates: Sequence[int], stated_at: int) -> list[int]:
    """Scale dilation rates so that they look at the same pixels at another output stride.

    Args:
        output_stride: Of the features.
        rates: ≥ 1.
        stated_at: The output stride that the rates are stated for.

    Returns:
        Rates, at least 1.

    Example:
        >>> rates_at(8, (6, 12, 18), stated_at=16)
        [12, 24, 36]
    """
    return [max(1, rate * stated_at // output_stride) for rate in rates]


def aspp(
    x: keras.KerasTensor,
    channels: int,
    *,
    rates: Sequence[int],
    separable: bool,
    dropout: float,
    norm: BatchNorm,
) -> keras.KerasTensor:
    """Pool features at several scales: image pooling, a 1x1 and dilated 3x3 kernels side by side.

    Args:
        x: Features `(batch, height, width, features)`.
        channels: Of every branch and of the result.
        rates: Dilation of each 3x3 branch. May be empty.
        separable: Whether the 3x3 branches are depthwise separable.
        dropout: Rate, in [0, 1), behind the projection.
        norm: Of the batch normalization.

    Returns:
        Features `(batch, height, width, channels)`. All layers' names begin with "aspp".

    Example:
        >>> features = keras.Input((None, None, 320))
        >>> norm = models.layers.batch_norm.BatchNorm()
        >>> aspp(features, 64, rates=(6, 12, 18), separable=True, dropout=0.1, norm=norm).shape
        (None, None, None, 64)

    Reference:
        Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017,
        section 3.3; dropout as in DeepLab's own code.
    """
    dilated_block = separable_conv_block if separable else conv_block
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="aspp_pool")(x)  # [B, 1, 1, C]
    pooled = conv_block(pooled, channels, 1, norm=norm, name="aspp_pool")
    # Resizing a single cell repeats it. The branches stand in the order of DeepLab's own code, so
    # that its weights can be imported.
    branches = [ResizeLike(name="aspp_pool_resize")([pooled, x])]
    branches.append(conv_block(x, channels, 1, norm=norm, name="aspp_1x1"))
    branches += [
        dilated_block(x, channels, 3, rate=rate, norm=norm, name=f"aspp_branch{i}")
        for i, rate in enumerate(rates, start=1)
    ]
    x = keras.layers.Concatenate(name="aspp_concat")(branches)
    x = conv_block(x, channels, 1, norm=norm, name="aspp_project")
    return keras.layers.Dropout(dropout, name="aspp_dropout")(x)
