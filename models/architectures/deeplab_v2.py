"""DeepLabV2."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from models.architectures.aspp import rates_at
from models.architectures.segmenter import EncodedImage, classifier, encode
from models.backbones.encoder import build_backbone
from models.checks import check_choice, check_rates
from models.layers.batch_norm import BatchNorm
from models.layers.precision import full_precision

# The atrous rates are stated for this output stride.
RATES_AT_STRIDE = 8

UPSAMPLINGS = ("bilinear", "deconvolution")


def deeplab_v2(
    *,
    backbone: str | keras.Model,
    num_classes: int,
    output_stride: int = 8,
    weights: str | None = None,
    batch_norm: BatchNorm | None = None,
    atrous_rates: Sequence[int] = (6, 12, 18, 24),
    upsampling: Literal["bilinear", "deconvolution"] = "bilinear",
) -> keras.Model:
    """Build DeepLabV2: a dilated backbone and ASPP of parallel 3x3 classifiers, summed.

    Args:
        backbone: See `build`.
        num_classes: Number of classes C, at least 1.
        output_stride: 8, as in the papers, 16 or 32: of the features that ASPP sees.
        weights: Of the backbone, see `build_backbone`.
        batch_norm: How batch normalization trains.
        atrous_rates: Of the classifiers at output stride 8; halved at 16, quartered at 32.
        upsampling: "bilinear", which is fixed, as LMP used it; or "deconvolution", as LAD used it:
            a transposed convolution, at first bilinear, whose weights are learnt.

    Returns:
        A functional model, see `build`. Its layers behind the backbone begin with "aspp" and
        "logits".

    Raises:
        ValueError: if an argument is none of the possible ones.

    Example:
        >>> model = models.build(
        ...     "deeplab_v2", backbone="mobilenet_v2", num_classes=21, upsampling="deconvolution")
        >>> model(tf.zeros([1, 33, 41, 3])).shape
        TensorShape([1, 33, 41, 21])

    Reference:
        Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous
        Convolution, and Fully Connected CRFs", 2017, section 3.2, ASPP-L; no multi-scale inputs
        and no CRF, as in the two losses' papers. Those do not state the kernel of the
        deconvolution: here it is twice the stride, all classes into all, without a bias. At the
        borders of the image it fades to 0 where features lie inside of cells (`dilate`).
    """
    check_choice("upsampling", upsampling, UPSAMPLINGS)
    check_rates(atrous_rates, least=1)
    encoder = build_backbone(
        backbone,
        output_stride=output_stride,
        weights=weights,
        batch_norm=batch_norm or BatchNorm(),
    )
    image = encode(encoder, output_stride)
    x = image.maps[output_stride]
    branches = [
        classifier(x, num_classes, side=3, rate=rate, name=f"aspp_branch{i}")
        for i, rate in enumerate(rates_at(output_stride, atrous_rates, RATES_AT_STRIDE), start=1)
    ]
    logits = branches[0]
    if len(branches) > 1:
        logits = keras.layers.Add(dtype=full_precision(), name="logits")(branches)
    if upsampling == "deconvolution":
        logits = _deconvolution(logits, output_stride, image)
    return image.model(logits, "deeplab_v2", full_size=upsampling == "deconvolution")


def _deconvolution(
    logits: keras.KerasTensor, stride: int, image: EncodedImage
) -> keras.KerasTensor:
    """Upsample logits to every pixel of the padded image."""
    num_classes = logits.shape[-1]
    # Features on corners reach from center to center, features in cells from border to border.
    side, surplus = (2 * stride - 1, stride - 1) if image.corners else (2 * stride, stride // 2)
    x = keras.layers.Conv2DTranspose(
        num_classes,
        side,
        strides=stride,
        use_bias=False,
        kernel_initializer=Bilinear(),
        dtype=full_precision(),
        name="logits_deconvolution",
    )(logits)
    return keras.layers.Cropping2D(surplus, dtype=full_precision(), name="logits_surplus")(x)


@keras.saving.register_keras_serializable(package="tfsegloss_models")
class Bilinear(keras.initializers.Initializer):
    """Kernel of a transposed convolution that interpolates bilinearly, each channel for itself.

    Example:
        >>> Bilinear()((3, 3, 1, 1))[:, 1, 0, 0].numpy().tolist()
        [0.5, 1.0, 0.5]
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
        """Fill a kernel `(side, side, channels, channels)`."""
        side, _, channels, _ = shape
        stride = (side + 1) // 2
        taps = 1 - tf.abs(tf.range(side, dtype=tf.float64) - (side - 1) / 2) / stride
        window = (taps[:, tf.newaxis] * taps)[..., tf.newaxis, tf.newaxis]
        kernel = window * tf.eye(channels, dtype=tf.float64)
        return tf.cast(kernel, dtype or keras.config.floatx())
