"""Random scale, crop and flip of an image together with its labels."""

import tensorflow as tf

from train.config import InputConfig
from train.palette import IGNORED

# Mid-grey: what the networks' normalisation makes about 0 of.
PADDING = 127.5


def augment(
    image: tf.Tensor, ids: tf.Tensor, config: InputConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Random scale, crop and flip, the same for image and labels.

    Args:
        image: `[H, W, 3]`, 0 to 255.
        ids: uint8 `[H, W]`.
        config: Ranges and sizes.
        seed: int `[2]`; the result is a pure function of it.

    Returns:
        Image float32 `[*crop, 3]`, interpolated, and ids uint8 `[*crop]`, nearest, of which none is
        new but the ignored one, where the crop leaves the image.
    """
    scale_seed, crop_seed, flip_seed = tf.unstack(tf.random.split(seed, 3))
    scale = tf.random.stateless_uniform([], scale_seed, *map(float, config.scale))
    image, ids = resize(image, ids, scale * config.resolution)
    image, ids = _pad(image, ids, config.crop)
    image, ids = _crop(image, ids, config.crop, crop_seed)
    if config.flip:
        mirror = tf.random.stateless_uniform([], flip_seed) < 0.5
        image = tf.where(mirror, image[:, ::-1], image)
        ids = tf.where(mirror, ids[:, ::-1], ids)
    return image, ids


def resize(
    image: tf.Tensor, ids: tf.Tensor, scale: tf.Tensor | float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Image float32 and ids resized by a factor, to at least one pixel."""
    size = scaled_size(tf.shape(image)[:2], scale)
    nearest = tf.image.ResizeMethod.NEAREST_NEIGHBOR
    return tf.image.resize(image, size), tf.image.resize(ids[..., tf.newaxis], size, nearest)[
        ..., 0
    ]


def scaled_size(size: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
    """Height and width times a factor, rounded, at least 1."""
    return tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32), 1)


def _pad(image: tf.Tensor, ids: tf.Tensor, crop: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Padded below and to the right to at least the size of the crop."""
    missing = tf.maximum(crop - tf.shape(ids), 0)
    margins = tf.stack([tf.zeros_like(missing), missing], axis=1)  # [2, 2]
    image = tf.pad(image, tf.concat([margins, [[0, 0]]], axis=0), constant_values=PADDING)
    return image, tf.pad(ids, margins, constant_values=IGNORED)


def _crop(
    image: tf.Tensor, ids: tf.Tensor, crop: tuple[int, int], seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    room = tf.cast(tf.shape(ids) - crop + 1, tf.float32)
    start = tf.cast(tf.random.stateless_uniform([2], seed) * room, tf.int32)
    image = tf.slice(image, [start[0], start[1], 0], [*crop, 3])
    return image, tf.slice(ids, start, crop)
