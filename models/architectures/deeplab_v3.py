"""DeepLabV3."""

from collections.abc import Sequence

import keras

from models.architectures.aspp import aspp, rates_at
from models.architectures.segmenter import classifier, encode
from models.backbones.encoder import build_backbone
from models.checks import check_channels, check_dropout, check_rates
from models.layers.batch_norm import BatchNorm

# The atrous rates are stated for this output stride.
RATES_AT_STRIDE = 16


def deeplab_v3(
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
    multi_grid: Sequence[int] | None = None,
) -> keras.Model:
    """Build DeepLabV3: a dilated backbone, ASPP, and logits resized from the output stride.

    Args:
        backbone: See `build`.
        num_classes: Number of classes C, at least 1.
        output_stride: 8, 16 or 32: of the features that ASPP sees.
        weights: Of the backbone, see `build_backbone`.
        batch_norm: How batch normalization trains.
        channels: Width of ASPP. None: 256, the paper's; 64 with a MobileNet or EfficientNet-Lite.
        separable: Whether the 3x3 convolutions of ASPP are depthwise separable. None: with an
            Xception, a MobileNet or an EfficientNet-Lite.
        atrous_rates: Of ASPP's 3x3 branches at output stride 16; halved at 32, doubled at 8.
        dropout: Rate behind ASPP, in [0, 1).
        multi_grid: Factors of the rates of the 3x3 convolutions in a ResNet's last block, the
            paper's (1, 2, 4); None: (1, 1, 1), what a backbone's ImageNet weights were trained for.

    Returns:
        A functional model, see `build`. Its layers behind the backbone begin with "aspp" and
        "logits".

    Raises:
        ValueError: if an argument is none of the possible ones.

    Example:
        >>> model = models.build("deeplab_v3", backbone="mobilenet_v2", num_classes=21)
        >>> model(tf.zeros([1, 33, 41, 3])).shape
        TensorShape([1, 33, 41, 21])

    Reference:
        Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017,
        section 3. Deviations: multi-grid rates on request only, as in DeepLab's own code (they gain
        the paper 0.9 points at stride 16, its table 5); dropout as in that code; sizes and resizing
        as in `deeplab_v3_plus`.
    """
    check_channels(channels)
    check_dropout(dropout)
    check_rates(atrous_rates, least=0)
    norm = batch_norm or BatchNorm()
    encoder = build_backbone(
        backbone,
        output_stride=output_stride,
        weights=weights,
        batch_norm=norm,
        multi_grid=multi_grid,
    )
    image = encode(encoder, output_stride)
    x = aspp(
        image.maps[output_stride],
        channels or encoder.description.channels,
        rates=rates_at(output_stride, atrous_rates, RATES_AT_STRIDE),
        separable=encoder.description.separable if separable is None else separable,
        dropout=dropout,
        norm=norm,
    )
    return image.model(classifier(x, num_classes), "deeplab_v3")
