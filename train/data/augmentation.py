"""Random scale, crop, flip and colour of an image together with its labels.

The crop is drawn in the image's own pixels, as a box, and only the box is resized: the work grows
with the crop, not with the image, and of a JPEG no more than the box needs to be decoded.
"""

from typing import NamedTuple

import tensorflow as tf

from train.config import InputConfig
from train.data.palette import IGNORED

# Mid-grey: what the networks' normalisation makes about 0 of.
PADDING = 127.5


class Draw(NamedTuple):
    """What is random about one sample."""

    box: tf.Tensor  # int32 [4]: top, left, height, width in the image's pixels
    size: tf.Tensor  # int32 [2]: height and width the box is resized to, at most the crop
    mirrored: tf.Tensor  # bool
    colour: tf.Tensor  # float32 [3]: factors of brightness, contrast, saturation


def draw(
    size: tf.Tensor, config: InputConfig, seed: tf.Tensor, centre: tf.Tensor | None = None
) -> Draw:
    """What is random about one sample, a pure function of the seed.

    Args:
        size: Height and width of the image, int32 `[2]`.
        config: Ranges and sizes.
        seed: int `[2]`.
        centre: Row and column, int32 `[2]`, that the crop is centred on as far as it stays inside
            the image; None: anywhere.
    """
    scale_seed, crop_seed, flip_seed, colour_seed = tf.unstack(tf.random.split(seed, 4))
    scale = config.resolution * _draw_scale(config, scale_seed)
    wanted = tf.maximum(tf.cast(tf.round(tf.cast(config.crop, tf.float32) / scale), tf.int32), 1)
    box = tf.minimum(wanted, size)
    room = size - box  # [2]
    if centre is None:
        uniform = tf.random.stateless_uniform([2], crop_seed)
        start = tf.cast(uniform * tf.cast(room + 1, tf.float32), tf.int32)
    else:
        start = tf.clip_by_value(centre - box // 2, 0, room)
    strength = config.colour_jitter
    return Draw(
        box=tf.concat([start, box], axis=0),
        # Where the image is smaller than the box that was wanted, the crop is not filled.
        size=tf.where(box < wanted, tf.minimum(scaled_size(box, scale), config.crop), config.crop),
        mirrored=config.flip & (tf.random.stateless_uniform([], flip_seed) < 0.5),
        colour=tf.random.stateless_uniform([3], colour_seed, 1 - strength, 1 + strength),
    )


def _draw_scale(config: InputConfig, seed: tf.Tensor) -> tf.Tensor:
    low, high = map(float, config.scale)
    if config.scale_step is None:
        return tf.random.stateless_uniform([], seed, low, high)
    steps = round((high - low) / config.scale_step)
    step = tf.random.stateless_uniform([], seed, 0, steps + 1, tf.int32)
    return low + config.scale_step * tf.cast(step, tf.float32)


def scaled_size(size: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
    """Height and width times a factor, rounded, at least 1."""
    return tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32), 1)


def cut(pixels: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """A box of `[H, W, …]`."""
    top, left, height, width = tf.unstack(box)
    return pixels[top : top + height, left : left + width]


def finish(
    image: tf.Tensor, ids: tf.Tensor, drawn: Draw, config: InputConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Flips, resizes, colours and pads the box of an image and of its labels alike.

    Args:
        image: uint8 `[h, w, 3]`, the box.
        ids: uint8 `[h, w]`, the box.
        drawn: What `draw` returned.
        config: Ranges and sizes.

    Returns:
        Image float32 `[*crop, 3]`, interpolated, and ids uint8 `[*crop]`, nearest, of which none is
        new but the ignored one, where the crop leaves the image.
    """
    image, ids = tf.cond(
        drawn.mirrored, lambda: (image[:, ::-1], ids[:, ::-1]), lambda: (image, ids)
    )
    nearest = tf.image.ResizeMethod.NEAREST_NEIGHBOR
    ids = tf.image.resize(ids[..., tf.newaxis], drawn.size, nearest)[..., 0]
    image = tf.image.resize(image, drawn.size)
    if config.colour_jitter:
        image = _colour(image, drawn.colour)
    missing = config.crop - tf.shape(ids)
    margins = tf.stack([tf.zeros_like(missing), missing], axis=1)  # [2, 2]
    image = tf.pad(image, tf.concat([margins, [[0, 0]]], axis=0), constant_values=PADDING)
    ids = tf.pad(ids, margins, constant_values=IGNORED)
    return tf.ensure_shape(image, [*config.crop, 3]), tf.ensure_shape(ids, config.crop)


def _colour(image: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast about the mean, and saturation about the grey, each times a factor."""
    brightness, contrast, saturation = tf.unstack(factors)
    image *= brightness
    image = (image - tf.reduce_mean(image)) * contrast + tf.reduce_mean(image)
    grey = tf.image.rgb_to_grayscale(image)
    return tf.clip_by_value((image - grey) * saturation + grey, 0, 255)
