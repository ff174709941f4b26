"""Encoded images: whole, or only a box of them."""

import tensorflow as tf

from train.data.decoding.errors import require
from train.data.decoding.png import png_header

IMAGE_KINDS = "an image must be a JPEG or PNG"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def decode_image(contents: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG or PNG to uint8 `[H, W, 3]`; gray becomes RGB, alpha is dropped.

    Args:
        contents: The file.

    Raises:
        DataError: In eager mode, where it is neither, or has 16 bits, of which the decoder drops
            the lower 8: 12-bit values would be nearly black. In a graph a
            `tf.errors.InvalidArgumentError`.
    """
    header = png_header(contents)
    known = require(tf.io.is_jpeg(contents) | header.is_png, IMAGE_KINDS)
    known += require(
        ~header.is_png | (header.depth != 16),
        "an image must have 8 bits per channel; this PNG has 16, with values from {} to {}: write "
        "them as bytes, such as value * 255 / the largest of all images",
        lambda: _range(tf.io.decode_png(contents, dtype=tf.uint16)),
    )
    with tf.control_dependencies(known):
        image = tf.io.decode_image(contents, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def _range(values: tf.Tensor) -> list[tf.Tensor]:
    values = tf.cast(values, tf.int32)  # of uint16 there is no minimum
    return [tf.reduce_min(values), tf.reduce_max(values)]


def decode_box(contents: tf.Tensor, box: tf.Tensor, labels_size: tf.Tensor) -> tf.Tensor:
    """Decode a box of an image; of a JPEG the rest is not decoded.

    Where a JPEG stores colors at half the resolution, pixels on the box's border differ a little
    from those of the whole image: the decoder has no neighbors there.

    Args:
        contents: JPEG or PNG.
        box: Top, left, height, width, int32 `[4]`.
        labels_size: Height and width of its label map, which must be the image's.

    Returns:
        uint8 `[height, width, 3]`.

    Raises:
        tf.errors.InvalidArgumentError: The image does not decode, or has another size.
    """

    def of_jpeg() -> tf.Tensor:
        size = tf.image.extract_jpeg_shape(contents)[:2]
        with tf.control_dependencies(require_size(size, labels_size)):
            return tf.io.decode_and_crop_jpeg(contents, box, channels=3)

    def of_other() -> tf.Tensor:
        image = decode_image(contents)
        with tf.control_dependencies(require_size(tf.shape(image)[:2], labels_size)):
            return crop(image, box)

    image = tf.cond(tf.io.is_jpeg(contents), of_jpeg, of_other)
    return tf.ensure_shape(image, [None, None, 3])


def crop(pixels: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """Return a box of `[H, W, …]`.

    Args:
        pixels: An image or a label map.
        box: Top, left, height, width, int32 `[4]`.
    """
    top, left, height, width = tf.unstack(box)
    return pixels[top : top + height, left : left + width]


def require_size(image: tf.Tensor, labels: tf.Tensor) -> list[tf.Operation]:
    """Require that the sizes of an image and of its label map are the same."""
    return require(
        tf.reduce_all(image == labels),
        "the image is {} (height, width), its label map {}",
        lambda: [image, labels],
    )
