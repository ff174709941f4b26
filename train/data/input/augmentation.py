"""Random scale, crop, flip and color of an image together with its labels.

The crop is drawn in the image's own pixels, as a box, and only the box is resized: the work grows
with the crop, not with the image, and of a JPEG no more than the box needs to be decoded.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from train.config import InputConfig
from train.data.decoding.palette import IGNORED

# Mid-gray, which the networks' normalization turns into about 0.
PADDING = 128
# Random numbers that a crop needs: scale, two for the place, flip, three for the color.
CROP_UNIFORMS = 7


class DrawnCrop(NamedTuple):
    """What is random about one sample."""

    box: tf.Tensor  # int32 [4]: top, left, height, width in the image's pixels
    size: tf.Tensor  # int32 [2]: height and width the box is resized to, at most the crop
    mirrored: tf.Tensor  # bool
    color: tf.Tensor  # float32 [3]: factors of brightness, contrast, saturation


def draw_crop(
    size: tf.Tensor, config: InputConfig, uniforms: tf.Tensor, center: tf.Tensor | None = None
) -> DrawnCrop:
    """Draw what is random about one sample.

    Args:
        size: Height and width of the image, int32 `[2]`.
        config: Ranges and sizes.
        uniforms: In [0, 1), float32 `[CROP_UNIFORMS]`: all the randomness there is.
        center: Row and column, int32 `[2]`, that the crop is centered on as far as it stays inside
            the image; None: anywhere.
    """
    scale = config.resolution * _scale(config, uniforms[0])
    wanted = tf.maximum(tf.cast(tf.round(np.array(config.crop, np.float32) / scale), tf.int32), 1)
    box = tf.minimum(wanted, size)
    room = size - box  # [2]
    if center is None:
        start = tf.cast(uniforms[1:3] * tf.cast(room + 1, tf.float32), tf.int32)
    else:
        start = tf.clip_by_value(center - box // 2, 0, room)
    strength = config.color_jitter
    return DrawnCrop(
        box=tf.concat([start, box], axis=0),
        # Where the image is smaller than the wanted box, the crop is filled in part.
        size=tf.where(box < wanted, tf.minimum(scaled_size(box, scale), config.crop), config.crop),
        mirrored=config.flip & (uniforms[3] < 0.5),
        color=1 + strength * (2 * uniforms[4:CROP_UNIFORMS] - 1),
    )


def _scale(config: InputConfig, uniform: tf.Tensor) -> tf.Tensor:
    low, high = map(float, config.scale)
    if config.scale_step is None:
        return low + (high - low) * uniform
    steps = int((high - low) / config.scale_step + 1e-6)
    return low + config.scale_step * tf.floor(uniform * (steps + 1))


def scaled_size(size: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
    """Return height and width times a factor, rounded, at least 1."""
    return tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32), 1)


def resize_and_flip(
    image: tf.Tensor, labels: tf.Tensor, drawn: DrawnCrop
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resize and flip the box of an image and of its label map alike.

    Args:
        image: uint8 `[h, w, 3]`, the box.
        labels: uint8 `[h, w]`, the box.
        drawn: What `draw_crop` returned.

    Returns:
        Image float32 `[*drawn.size, 3]`, interpolated, and labels uint8 `[*drawn.size]`, nearest:
        none of them is new.
    """
    flip = tf.cond(drawn.mirrored, lambda: tf.constant([1]), lambda: tf.constant([], tf.int32))
    image = tf.image.resize(tf.reverse(image, flip), drawn.size)
    rows, columns = (_nearest(tf.shape(labels)[axis], drawn.size[axis]) for axis in range(2))
    columns = tf.where(drawn.mirrored, tf.shape(labels)[1] - 1 - columns, columns)
    # The same as tf.image.resize, five times as fast: gathering along the first axis copies rows.
    labels = tf.gather(tf.transpose(tf.gather(labels, rows)), columns)
    return image, tf.transpose(labels)


def _nearest(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """Return which of `old` cells each of `new` cells takes its value from, int32 `[new]`."""
    centers = tf.range(tf.cast(new, tf.float32)) + 0.5
    return tf.cast(centers * tf.cast(old / new, tf.float32), tf.int32)


def color_and_pad(
    image: tf.Tensor, ids: tf.Tensor, drawn: DrawnCrop, config: InputConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Color and round the image, and pad both where they do not fill the crop.

    Args:
        image: float32 `[h, w, 3]`, at most as large as the crop.
        ids: uint8 `[h, w]`.
        drawn: What `draw_crop` returned.
        config: Ranges and sizes.

    Returns:
        Image uint8 `[*crop, 3]`, a quarter of the bytes of float32 to batch and to send to a
        device, and ids uint8 `[*crop]`, ignored where the image is padded.
    """
    if config.color_jitter:
        image = _color(image, drawn.color)
    image = tf.cast(image + 0.5, tf.uint8)
    image, ids = _pad(image, config.crop, PADDING), _pad(ids, config.crop, IGNORED)
    return tf.ensure_shape(image, [*config.crop, 3]), tf.ensure_shape(ids, config.crop)


def _pad(pixels: tf.Tensor, size: tuple[int, int], value: int) -> tf.Tensor:
    """Fill `[h, w, …]` up below and to the right. (tf.pad goes over it number by number.)"""
    for axis, side in ((1, size[1]), (0, size[0])):
        shape = tf.tensor_scatter_nd_update(
            tf.shape(pixels), [[axis]], [side - tf.shape(pixels)[axis]]
        )
        pixels = tf.concat([pixels, tf.fill(shape, tf.constant(value, pixels.dtype))], axis)
    return pixels


def _color(image: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Change brightness, contrast about the mean, and saturation about gray, by a factor each."""
    brightness, contrast, saturation = tf.unstack(factors)
    image *= brightness
    image = (image - tf.reduce_mean(image)) * contrast + tf.reduce_mean(image)
    gray = tf.image.rgb_to_grayscale(image)
    return tf.clip_by_value((image - gray) * saturation + gray, 0, 255)
