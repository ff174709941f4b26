"""Atrous spatial pyramid pooling."""

from collections.abc import Sequence

import keras

from models.layers import ResizeLike, conv_block, separable_conv_block


def aspp(
    x: keras.KerasTensor,
    channels: int,
    *,
    rates: Sequence[int],
    separable: bool,
    dropout: float,
    momentum: float,
) -> keras.KerasTensor:
    """Look at features at several scales at once: 1x1, dilated 3x3 and image pooling, side by side.

    Args:
        x: Features `(batch, height, width, features)`.
        channels: Of every branch and of the result.
        rates: Dilation of each 3x3 branch. May be empty.
        separable: Whether the 3x3 branches are depthwise separable.
        dropout: Rate, in [0, 1), behind the projection.
        momentum: Of the batch normalisation, in [0, 1).

    Returns:
        Features `(batch, height, width, channels)`. All layers' names begin with "aspp".

    Example:
        >>> features = keras.Input((None, None, 320))
        >>> aspp(features, 64, rates=(6, 12, 18), separable=True, dropout=0.1, momentum=0.99).shape
        (None, None, None, 64)

    Reference:
        Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017,
        section 3.3; dropout as in DeepLab's own code.
    """
    dilated_block = separable_conv_block if separable else conv_block
    branches = [conv_block(x, channels, 1, momentum=momentum, name="aspp_1x1")]
    branches += [
        dilated_block(x, channels, 3, rate=rate, momentum=momentum, name=f"aspp_branch{i}")
        for i, rate in enumerate(rates, start=1)
    ]
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="aspp_pool")(x)  # [B, 1, 1, C]
    pooled = conv_block(pooled, channels, 1, momentum=momentum, name="aspp_pool")
    # From a single cell, bilinear resizing is repetition.
    branches.append(ResizeLike(name="aspp_pool_resize")([pooled, x]))
    x = keras.layers.Concatenate(name="aspp_concat")(branches)
    x = conv_block(x, channels, 1, momentum=momentum, name="aspp_project")
    return keras.layers.Dropout(dropout, name="aspp_dropout")(x)
