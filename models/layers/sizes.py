"""Layers that change the sides of maps. Shapes: B images, H x W cells, C channels."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfsegloss_models")
class PadToMultiple(keras.layers.Layer):
    """Append zeros at the bottom and at the right until both sides fit a grid of features.

    Args:
        multiple: ≥ 1.
        remainder: In [0, multiple): what the sides leave when divided by `multiple`.

    Returns:
        `(batch, height', width', channels)`, the least sides that fit.

    Example:
        >>> PadToMultiple(16)(tf.zeros([1, 33, 41, 3])).shape
        TensorShape([1, 48, 48, 3])
        >>> PadToMultiple(16, 1)(tf.zeros([1, 33, 41, 3])).shape
        TensorShape([1, 33, 49, 3])
    """

    def __init__(self, multiple: int, remainder: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple
        self.remainder = remainder

    def call(self, inputs: tf.Tensor) -> tf.Tensor:  # [B, H, W, C]
        """Pad `inputs`."""
        sides = tf.shape(inputs)[1:3]
        # Of no negative number: converters of graphs take the floor's modulus for C's.
        beyond = (sides + (self.multiple - 1 - self.remainder)) % self.multiple
        missing = self.multiple - 1 - beyond
        padded = tf.pad(inputs, [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])
        # TensorFlow Lite does not know how many channels a padding by a computed size leaves.
        shape = tf.concat([tf.shape(inputs)[:1], sides + missing, inputs.shape[3:]], axis=0)
        padded = tf.reshape(padded, shape)
        padded.set_shape(self.compute_output_shape(inputs.shape))
        return padded

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Enlarge the sides where they are known."""
        batch, height, width, channels = input_shape
        sides = (
            None if s is None else s + (self.remainder - s) % self.multiple for s in (height, width)
        )
        return (batch, *sides, channels)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        config = super().get_config()
        return {**config, "multiple": self.multiple, "remainder": self.remainder}


class _SizedLike(keras.layers.Layer):
    """Called on `[features, like]`; the result has the sides of `like`."""

    def compute_output_shape(self, input_shape: Sequence[tuple]) -> tuple:
        """Take the sides of the second input."""
        features, like = input_shape
        return (features[0], like[1], like[2], features[3])


@keras.saving.register_keras_serializable(package="tfsegloss_models")
class ResizeLike(_SizedLike):
    """Resize features bilinearly to the size of other features.

    Called on `[features, like]`.

    Args:
        corners: Whether the outermost features are centered on the outermost cells of the other
            features ("align corners"). False: the borders of the two coincide.

    Returns:
        `(batch, height of like, width of like, channels of features)`.

    Example:
        >>> ResizeLike()([tf.zeros([1, 3, 4, 7]), tf.zeros([1, 48, 64, 2])]).shape
        TensorShape([1, 48, 64, 7])
    """

    def __init__(self, corners: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.corners = corners

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:  # [B, h, w, C], [B, H, W, ·]
        """Resize the first input."""
        features, like = inputs
        sides = tf.shape(like)[1:3]
        # Both functions return float32 whatever they are given. XLA's gradient of them does too,
        # where TensorFlow expects the half precision of the features, in which its own sums up.
        half = features.dtype in (tf.float16, tf.bfloat16)
        wide = tf.cast(features, tf.float32) if half else features
        if self.corners:
            resized = tf.compat.v1.image.resize(wide, sides, align_corners=True)
        else:
            resized = tf.image.resize(wide, sides, method="bilinear")
        resized.set_shape(self.compute_output_shape([features.shape, like.shape]))
        return tf.cast(resized, features.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "corners": self.corners}


@keras.saving.register_keras_serializable(package="tfsegloss_models")
class CropLike(_SizedLike):
    """Keep the top left part of features that has the size of other features.

    Called on `[features, like]`; undoes `PadToMultiple`.

    Returns:
        `(batch, height of like, width of like, channels of features)`.

    Example:
        >>> CropLike()([tf.zeros([1, 48, 48, 7]), tf.zeros([1, 33, 41, 3])]).shape
        TensorShape([1, 33, 41, 7])
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:  # [B, h, w, C], [B, H, W, ·]
        """Crop the first input."""
        features, like = inputs
        sides = tf.shape(like)[1:3]
        cropped = features[:, : sides[0], : sides[1]]
        cropped.set_shape(self.compute_output_shape([features.shape, like.shape]))
        return cropped
