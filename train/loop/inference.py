"""A network on whole images, the same in training and in the exported model."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from train.data.input.augmentation import scaled_size

# From images uint8 [B, H, W, 3] to class ids uint8 [B, H, W].
Classify = Callable[[tf.Tensor], tf.Tensor]
IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8)


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


def classifier(model: keras.Model, resolution: float) -> Classify:
    """Return what makes class ids of whole images, by a network of a run.

    Args:
        model: The network.
        resolution: Factor by which images are resized for it.
    """
    return classifier_of(whole_images(model, resolution))


def whole_images(model: keras.Model, resolution: float) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return what makes logits of whole images, compiled; the arguments are `classifier`'s."""

    @tf.function(input_signature=[IMAGES])
    def logits(images: tf.Tensor) -> tf.Tensor:
        return whole_image_logits(model, images, resolution)

    return logits


def classifier_of(logits: Callable[[tf.Tensor], tf.Tensor]) -> Classify:
    """Return what makes class ids of whole images, compiled.

    Args:
        logits: What makes logits of them.
    """

    @tf.function(input_signature=[IMAGES])
    def classify(images: tf.Tensor) -> tf.Tensor:
        return predict_classes(logits(images))

    return classify
