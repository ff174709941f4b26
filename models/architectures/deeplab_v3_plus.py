"""DeepLabV3+."""

from collections.abc import Sequence

import keras

from models.architectures.aspp import aspp, rates_at
from models.architectures.segmenter import classifier, encode
from models.backbones.encoder import build_backbone
from models.checks import check_channels, check_dropout, check_rates
from models.layers.batch_norm import BatchNorm
from models.layers.blocks import conv_block, separable_conv_block
from models.layers.sizes import ResizeLike

# The paper's decoder reduces the low-level features to 48 channels (section 4.1, table 1).
LOW_LEVEL_CHANNELS = 48
# Stride of the low-level features.
LOW_LEVEL_STRIDE = 4
# The atrous rates are stated for this output stride.
RATES_AT_STRIDE = 16


def deeplab_v3_plus(
    *,
    backbone: str | keras.Model,
    num_classes: int,
    output_stride: int = 16,
    weights: str | None = None,
    batch_norm: BatchNorm | None = None,
    channels: int | None = None,
    separable: bool | None = None,
    atrous_rates: Sequence[int] = (6, 12, 18),
    dropout: float = 0.1,
) -> keras.Model:
    """Build DeepLabV3+: a dilated backbone, ASPP, and a decoder on the features of stride 4.

    Args:
        backbone: See `build`.
        num_classes: Number of classes C, at least 1.
        output_stride: 8, 16 or 32: of the features that ASPP sees.
        weights: Of the backbone, see `build_backbone`.
        batch_norm: How batch normalization trains.
        channels: Width of ASPP and decoder. None: 256, the paper's; a quarter of it with a
            MobileNet or EfficientNet-Lite, whose own features would otherwise be a small part of
            the network's cost.
        separable: Whether the 3x3 convolutions of ASPP and decoder are depthwise separable. None:
            with an Xception, a MobileNet or an EfficientNet-Lite. The paper has both.
        atrous_rates: Of ASPP's 3x3 branches at output stride 16; halved at 32, doubled at 8.
        dropout: Rate behind ASPP, in [0, 1).

    Returns:
        A functional model, see `build`. Its layers behind the backbone begin with "aspp",
        "decoder" and "logits".

    Raises:
        ValueError: if an argument is none of the possible ones.

    Example:
        >>> model = models.build("deeplab_v3_plus", backbone="mobilenet_v2", num_classes=21)
        >>> model(tf.zeros([1, 33, 41, 3])).shape
        TensorShape([1, 33, 41, 21])

    Reference:
        Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
        Segmentation", 2018, sections 3.1 and 4.1. Where the features are centered on pixels 0,
        stride, 2 · stride, … (ResNets, Xceptions, EfficientNetV2 and -Lite) sides and resizing are
        those of the paper's code: k · stride + 1 pixels, corners aligned. Deviations: other sizes
        are padded at the bottom and right, with zeros behind the normalization (the mean color,
        or black where a backbone normalizes by itself), and the logits cropped; the other
        backbones' features divide the image into cells, so they get sides of k · stride, and
        resizing aligns borders. The low-level features of Xception-65 and of the ResNet with three
        3x3 kernels at its start are those of DeepLab's own code, of the others those before the
        stride of 8 is taken (in `resnet*_v2` inside of a block, 64 channels); with MobileNetV2 that
        code has neither atrous branches nor a decoder:
        `atrous_rates=()` takes the branches away.
    """
    check_channels(channels)
    check_dropout(dropout)
    check_rates(atrous_rates, least=0)
    norm = batch_norm or BatchNorm()
    encoder = build_backbone(
        backbone, output_stride=output_stride, weights=weights, batch_norm=norm
    )
    channels = channels or encoder.description.channels
    separable = encoder.description.separable if separable is None else separable
    image = encode(encoder, output_stride)
    if LOW_LEVEL_STRIDE not in image.maps:
        raise ValueError(
            f"`backbone` must have features of stride {LOW_LEVEL_STRIDE}. "
            f"Received: strides {tuple(image.maps)}"
        )
    x = aspp(
        image.maps[output_stride],
        channels,
        rates=rates_at(output_stride, atrous_rates, RATES_AT_STRIDE),
        separable=separable,
        dropout=dropout,
        norm=norm,
    )
    block = separable_conv_block if separable else conv_block
    low = image.maps[LOW_LEVEL_STRIDE]
    low = conv_block(low, LOW_LEVEL_CHANNELS, 1, norm=norm, name="decoder_low")
    x = ResizeLike(image.corners, name="decoder_resize")([x, low])
    x = keras.layers.Concatenate(name="decoder_concat")([x, low])
    x = block(x, channels, 3, norm=norm, name="decoder_1")
    x = block(x, channels, 3, norm=norm, name="decoder_2")
    return image.model(classifier(x, num_classes), "deeplab_v3_plus")
