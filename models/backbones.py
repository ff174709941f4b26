"""Backbones: classification networks of keras.applications that hand out maps of features."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import keras

from models.dilation import Edits, check_output_stride, clone_with, dilation_edits


@dataclasses.dataclass(frozen=True)
class Backbone:
    """What has to be known about a network of keras.applications.

    Attributes:
        constructor: The function of keras.applications.
        normalization: Arguments of `layers.PixelNormalization`, those the weights were trained
            with.
        levels: Names of the layers whose outputs stand for strides 2, 4, 8, 16 and 32.
    """

    constructor: Callable[..., keras.Model]
    normalization: dict[str, Any]
    levels: tuple[str, str, str, str, str]


# x / 127.5 - 1, `keras.applications.imagenet_utils.preprocess_input(mode="tf")`.
_SIGNED_UNIT = {"scale": 1 / 127.5, "offset": (-1.0, -1.0, -1.0)}
# ImageNet's means of blue, green and red, `preprocess_input(mode="caffe")`.
_CENTRED_BGR = {"offset": (-103.939, -116.779, -123.68), "bgr": True}


def _resnet_levels(blocks_in_stage_4: int) -> tuple[str, str, str, str, str]:
    return (
        "conv1_relu",
        "conv2_block3_out",
        "conv3_block4_out",
        f"conv4_block{blocks_in_stage_4}_out",
        "conv5_block3_out",
    )


BACKBONES = {
    "mobilenet_v2": Backbone(
        keras.applications.MobileNetV2,
        _SIGNED_UNIT,
        # Stride 4 and the last level are DeepLab's own choice: the expanded features of the second
        # block, and what comes before the 1280 channels that only a classifier needs.
        (
            "expanded_conv_project_BN",
            "block_2_depthwise_relu",
            "block_5_add",
            "block_12_add",
            "block_16_project_BN",
        ),
    ),
    "resnet50": Backbone(keras.applications.ResNet50, _CENTRED_BGR, _resnet_levels(6)),
    "resnet101": Backbone(keras.applications.ResNet101, _CENTRED_BGR, _resnet_levels(23)),
}


def get_backbone(name: str) -> Backbone:
    """Look up a backbone, or raise a ValueError that lists all of them."""
    if name not in BACKBONES:
        raise ValueError(
            f"`backbone` must be one of {tuple(BACKBONES)}. Received: backbone={name!r}"
        )
    return BACKBONES[name]


def build_backbone(
    name: str,
    *,
    output_stride: int = 16,
    weights: str | None = None,
    batch_norm_momentum: float = 0.99,
) -> keras.Model:
    """Build a backbone at an output stride, with synchronised batch normalisation.

    Args:
        name: A key of `BACKBONES`.
        output_stride: 8, 16 or 32, see `dilate`.
        weights: None for random ones, "imagenet" for those that keras.applications downloads.
        batch_norm_momentum: In [0, 1). The epsilon stays the network's own.

    Returns:
        A model named "backbone" from normalised images `(batch, height, width, 3)` to a list of
        feature maps, strides 2, 4, …, `output_stride`. Sides must be multiples of the latter.

    Raises:
        ValueError: if an argument is none of the possible ones.

    Example:
        >>> backbone = models.build_backbone("mobilenet_v2", output_stride=8)
        >>> maps = models.feature_maps(backbone, tf.zeros([1, 64, 64, 3]))
        >>> {stride: tuple(features.shape) for stride, features in maps.items()}
        {2: (1, 32, 32, 16), 4: (1, 16, 16, 144), 8: (1, 8, 8, 320)}
    """
    spec = get_backbone(name)
    check_output_stride(output_stride)
    with warnings.catch_warnings():
        # MobileNetV2 announces that it takes the weights of 224 x 224 images. They fit any size.
        warnings.filterwarnings("ignore", message=".*Weights for input shape", category=UserWarning)
        original = spec.constructor(include_top=False, weights=weights, input_shape=(None, None, 3))
    edits = {
        **dilation_edits(original, output_stride),
        **_batch_norm_edits(original, batch_norm_momentum),
    }
    network = clone_with(original, edits)
    # The last level is at the output stride whatever its stride once was.
    inner_levels = output_stride.bit_length() - 2
    levels = (*spec.levels[:inner_levels], spec.levels[-1])
    outputs = [network.get_layer(level).output for level in levels]
    return keras.Model(network.input, outputs, name="backbone")


def feature_maps(backbone: keras.Model, images: keras.KerasTensor) -> dict[int, keras.KerasTensor]:
    """Call a backbone, and key its feature maps by their stride.

    Args:
        backbone: A model of `build_backbone`.
        images: Normalised images `(batch, height, width, 3)`, a tensor or a Keras tensor.

    Returns:
        `{2: …, 4: …, …, output_stride: …}`, each `(batch, height/stride, width/stride, channels)`.

    Example:
        See `build_backbone`.
    """
    return {2 ** (i + 1): features for i, features in enumerate(backbone(images))}


def _batch_norm_edits(network: keras.Model, momentum: float) -> Edits:
    return {
        layer.name: {"momentum": momentum, "synchronized": True}
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
