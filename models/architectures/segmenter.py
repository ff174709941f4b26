"""What all architectures share: pixels to features, logits to the size of the image."""

import dataclasses

import keras

from models.backbones.encoder import Encoder
from models.layers.normalization import PixelNormalization
from models.layers.precision import full_precision
from models.layers.sizes import CropLike, PadToMultiple, ResizeLike

# Small weights: at the beginning every class is about equally likely, as in DeepLab's own code.
CLASSIFIER_STDDEV = 0.01


@dataclasses.dataclass(frozen=True)
class EncodedImage:
    """An image, and the features that a backbone makes of it.

    Attributes:
        images: The input, RGB values 0–255 `(batch, height, width, 3)`.
        padded: Normalized, and enlarged at the bottom and right to sides that fit the grid.
        maps: Features by stride.
        corners: How features are resized, see `layers.ResizeLike`.
    """

    images: keras.KerasTensor
    padded: keras.KerasTensor
    maps: dict[int, keras.KerasTensor]
    corners: bool

    def model(
        self, logits: keras.KerasTensor, name: str, *, full_size: bool = False
    ) -> keras.Model:
        """Return the network from the images to logits of their size.

        Args:
            logits: `(batch, height', width', classes)`.
            name: Of the network.
            full_size: Whether the logits have the size of the padded image already.

        Returns:
            A functional model.
        """
        if not full_size:
            resize = ResizeLike(self.corners, dtype=full_precision(), name="logits_resize")
            logits = resize([logits, self.padded])
        crop = CropLike(dtype=full_precision(), name="logits_crop")
        return keras.Model(self.images, crop([logits, self.images]), name=name)


def encode(encoder: Encoder, output_stride: int) -> EncodedImage:
    """Normalize and pad an image, and let an encoder make features of it.

    Args:
        encoder: At `output_stride`.
        output_stride: 8, 16 or 32.

    Returns:
        The input, the padded image and the features. The layers are "images", "normalization",
        "padding", "margin" and "backbone".

    Raises:
        ValueError: The backbone is not one of RGB images.
    """
    channels = encoder.network.input_shape[-1]
    if channels != 3:
        raise ValueError(
            f"`backbone` must take images of 3 channels. Received: a model of {channels} channels"
        )
    images = keras.Input((None, None, 3), name="images")
    normalization = PixelNormalization(**encoder.description.normalization, name="normalization")
    corners, margin = encoder.grid.corners, encoder.grid.margin
    pad = PadToMultiple(output_stride, int(corners), dtype=full_precision(), name="padding")
    padded = pad(normalization(images))
    inner = padded
    if margin:
        # Unpadded kernels cut this margin off again.
        inner = keras.layers.ZeroPadding2D(margin, dtype=full_precision(), name="margin")(padded)
    return EncodedImage(images, padded, encoder.maps(inner), corners)


def classifier(
    x: keras.KerasTensor, num_classes: int, *, side: int = 1, rate: int = 1, name: str = "logits"
) -> keras.KerasTensor:
    """Compute the logits of every cell in full precision.

    Args:
        x: Features `(batch, height, width, channels)`.
        num_classes: ≥ 1.
        side: Of the kernel, odd.
        rate: Dilation.
        name: Of the layer.

    Returns:
        `(batch, height, width, classes)`.
    """
    return keras.layers.Conv2D(
        num_classes,
        side,
        dilation_rate=rate,
        padding="same",
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=CLASSIFIER_STDDEV),
        dtype=full_precision(),
        name=name,
    )(x)
