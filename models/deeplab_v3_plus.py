"""DeepLabV3+."""

from collections.abc import Sequence

import keras

from models.aspp import aspp
from models.backbones import build_backbone, feature_maps, get_backbone
from models.layers import (
    CropLike,
    PadToMultiple,
    PixelNormalization,
    ResizeLike,
    conv_block,
    full_precision,
    separable_conv_block,
)

# The paper's decoder reduces the low-level features to 48 channels (section 4.1, table 1).
LOW_LEVEL_CHANNELS = 48
# Where the low-level features come from.
LOW_LEVEL_STRIDE = 4
# Width of ASPP and decoder in the paper.
PAPER_CHANNELS = 256
# The atrous rates are stated for this output stride.
RATES_AT_STRIDE = 16
# Logits start near zero, as in DeepLab's own code: every class equally likely.
CLASSIFIER_STDDEV = 0.01


def deeplab_v3_plus(
    *,
    backbone: str,
    classes: int,
    output_stride: int = 16,
    weights: str | None = None,
    batch_norm_momentum: float = 0.99,
    channels: int | None = None,
    separable: bool | None = None,
    atrous_rates: Sequence[int] = (6, 12, 18),
    dropout: float = 0.1,
) -> keras.Model:
    """Build DeepLabV3+: a dilated backbone, ASPP, and a decoder on the features of stride 4.

    Args:
        backbone: "mobilenet_v2", "resnet50" or "resnet101".
        classes: Number of classes C, at least 1.
        output_stride: 8, 16 or 32: of the features that ASPP sees.
        weights: Of the backbone: None for random ones, "imagenet" for those of keras.applications.
        batch_norm_momentum: In [0, 1), of every batch normalisation. After n steps a share of
            momentum**n of the statistics is still their start: 0.99 wants runs of 500 steps and
            more, 0.9 suits shorter ones, keras.applications' 0.999 needs thousands.
        channels: Width of ASPP and decoder. None takes 256, the paper's, with a ResNet, and
            a quarter of it with MobileNetV2, whose own features would otherwise be a small part of
            the network's cost.
        separable: Whether the 3x3 convolutions of ASPP and decoder are depthwise separable. None
            means yes with MobileNetV2, no with a ResNet. The paper has both.
        atrous_rates: Of ASPP's 3x3 branches at output stride 16; halved at 32, doubled at 8.
        dropout: Rate behind ASPP, in [0, 1).

    Returns:
        A functional model from RGB values 0–255 `(batch, height, width, 3)`, any size, to logits
        `(batch, height, width, classes)` in float32. The backbone's normalisation is inside. The
        backbone is the layer "backbone"; the layers behind it begin with "aspp", "decoder" and
        "logits".

    Raises:
        ValueError: if an argument is none of the possible ones.

    Example:
        >>> model = models.build("deeplab_v3_plus", backbone="mobilenet_v2", classes=21)
        >>> model(tf.zeros([1, 33, 41, 3])).shape
        TensorShape([1, 33, 41, 21])

    Reference:
        Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
        Segmentation", 2018, sections 3.1 and 4.1. Deviations: images are padded at the bottom and
        right, with the mean colour, to multiples of the output stride, and logits cropped, where
        the paper takes sides of k·stride + 1; resizing aligns the borders of the images, not the
        centres of their corner pixels; with ResNets the low-level features end the stage of stride
        4, where DeepLab's own code ends one block earlier; with MobileNetV2 that code has neither
        atrous branches nor a decoder: `atrous_rates=()` takes the branches away.
    """
    spec = get_backbone(backbone)
    _check(classes, batch_norm_momentum, channels, dropout)
    is_mobile = backbone.startswith("mobilenet")
    channels = channels or (PAPER_CHANNELS // 4 if is_mobile else PAPER_CHANNELS)
    separable = is_mobile if separable is None else separable
    encoder = build_backbone(
        backbone,
        output_stride=output_stride,
        weights=weights,
        batch_norm_momentum=batch_norm_momentum,
    )

    images = keras.Input((None, None, 3), name="images")
    x = PixelNormalization(**spec.normalization, name="normalization")(images)
    padded = PadToMultiple(output_stride, dtype=full_precision(), name="padding")(x)
    maps = feature_maps(encoder, padded)
    x = aspp(
        maps[output_stride],
        channels,
        rates=[max(1, rate * RATES_AT_STRIDE // output_stride) for rate in atrous_rates],
        separable=separable,
        dropout=dropout,
        momentum=batch_norm_momentum,
    )
    x = _decoder(x, maps[LOW_LEVEL_STRIDE], channels, separable, batch_norm_momentum)
    logits = _classifier(x, classes)  # [B, H/4, W/4, C]
    logits = ResizeLike(dtype=full_precision(), name="logits_resize")([logits, padded])
    logits = CropLike(dtype=full_precision(), name="logits_crop")([logits, images])
    return keras.Model(images, logits, name=f"deeplab_v3_plus_{backbone}")


def _decoder(
    x: keras.KerasTensor, low: keras.KerasTensor, channels: int, separable: bool, momentum: float
) -> keras.KerasTensor:
    """Refine ASPP's features with those of stride 4."""
    block = separable_conv_block if separable else conv_block
    low = conv_block(low, LOW_LEVEL_CHANNELS, 1, momentum=momentum, name="decoder_low")
    x = ResizeLike(name="decoder_resize")([x, low])
    x = keras.layers.Concatenate(name="decoder_concat")([x, low])
    x = block(x, channels, 3, momentum=momentum, name="decoder_1")
    return block(x, channels, 3, momentum=momentum, name="decoder_2")


def _classifier(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    return keras.layers.Conv2D(
        classes,
        1,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=CLASSIFIER_STDDEV),
        dtype=full_precision(),
        name="logits",
    )(x)


def _check(classes: int, momentum: float, channels: int | None, dropout: float) -> None:
    if classes < 1:
        raise ValueError(f"`classes` must be at least 1. Received: classes={classes}")
    if channels is not None and channels < 1:
        raise ValueError(f"`channels` must be None or at least 1. Received: channels={channels}")
    if not 0 <= momentum < 1:
        raise ValueError(
            f"`batch_norm_momentum` must be in [0, 1). Received: batch_norm_momentum={momentum}"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout}")
