"""A network on whole images, the same in training and in the exported model."""

import math

import keras
import tensorflow as tf

from train.data.input.augmentation import scaled_size


def whole_image_logits(model: keras.Model, images: tf.Tensor, resolution: float) -> tf.Tensor:
    """Return logits at the images' own size.

    Args:
        model: From pixel values `[B, H, W, 3]` to logits `[B, H, W, C]`.
        images: uint8 or float `[B, H, W, 3]`, 0 to 255.
        resolution: Factor by which images are resized for the network.

    Returns:
        `[B, H, W, C]`.
    """
    size = tf.shape(images)[1:3]
    images = tf.cast(images, tf.float32)
    if resolution == 1:
        return model(images, training=False)
    logits = model(tf.image.resize(images, scaled_size(size, resolution)), training=False)
    return tf.image.resize(logits, size)


def predict_classes(logits: tf.Tensor, threshold: float = 0.5) -> tf.Tensor:
    """Return the class ids uint8 `[B, H, W]` of logits `[B, H, W, C]`.

    Args:
        logits: Of C classes; of one, a foreground's, whose id is 1.
        threshold: Probability above which a pixel is foreground; for one class only.
    """
    if logits.shape[-1] == 1:
        return tf.cast(logits[..., 0] > math.log(threshold / (1 - threshold)), tf.uint8)
    return tf.cast(tf.argmax(logits, axis=-1), tf.uint8)
