"""Poolings: a map of pixel losses becomes one number per image."""

import keras
import tensorflow as tf

from tfsegloss import replicas


class Pooling:
    """Turns pixel losses into one number per image.

    A subclass stores its options under their argument names, implements `__call__` and is
    registered for serialization.
    """

    def __call__(self, losses: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        """Pools.

        Args:
            losses: `[B, H, W]`, 0 where not valid.
            valid: bool `[B, H, W]`, the pixels that count.

        Returns:
            `[B]`, such that Keras' mean over the global batch is the formula.
        """
        raise NotImplementedError

    def get_config(self) -> dict:
        """The options."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Pooling":
        """The pooling with these options."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="tfsegloss")
class Mean(Pooling):
    """Mean over the valid pixels of the global batch: Σ_V ℓ / |V|.

    V are the valid pixels of all images on all replicas, so an image with few of them weighs
    little, and the value does not depend on the number of devices. No valid pixel: 0.

    Example:

    >>> losses = tf.constant([[[1.0, 3.0]], [[5.0, 0.0]]])
    >>> valid = tf.constant([[[True, True]], [[True, False]]])
    >>> float(tf.reduce_mean(Mean()(losses, valid)))
    3.0
    """

    def __call__(self, losses: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        """Pools `[B, H, W]` to `[B]`."""
        total = tf.reduce_sum(losses, axis=[1, 2])  # [B]
        return replicas.share_of_batch(total, tf.math.count_nonzero(valid))
