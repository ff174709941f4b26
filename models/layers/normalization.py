"""Pixels as a backbone was trained on them. Shapes: B images, H x W pixels."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from models.layers.precision import full_precision


@keras.saving.register_keras_serializable(package="tfsegloss_models")
class PixelNormalization(keras.layers.Layer):
    """Turns RGB values 0–255 into what a backbone was trained on: `scale * channels + offset`.

    Args:
        scale: Factor of every channel, or three of them.
        offset: Three summands, in the order of the output's channels.
        bgr: Whether the output's channels are blue, green, red.

    Returns:
        `(batch, height, width, 3)` in float32 (float64 where Keras runs in float64): bfloat16
        would round the pixels.

    Example:
        >>> layer = PixelNormalization(scale=1 / 127.5, offset=(-1.0, -1.0, -1.0))
        >>> layer(tf.constant([[[[0.0, 127.5, 255.0]]]])).numpy().tolist()
        [[[[-1.0, 0.0, 1.0]]]]
    """

    def __init__(
        self,
        scale: float | Sequence[float] = 1.0,
        offset: Sequence[float] = (0.0, 0.0, 0.0),
        *,
        bgr: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", full_precision())
        super().__init__(**kwargs)
        self.scale = scale
        self.offset = tuple(offset)
        self.bgr = bgr

    def call(self, inputs: tf.Tensor) -> tf.Tensor:  # [B, H, W, 3]
        """Normalize `inputs`."""
        if self.bgr:
            inputs = tf.reverse(inputs, axis=[-1])
        scale, offset = (tf.constant(x, inputs.dtype) for x in (self.scale, self.offset))
        return inputs * scale + offset

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return the shape of the input."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        config = super().get_config()
        return {**config, "scale": self.scale, "offset": list(self.offset), "bgr": self.bgr}
