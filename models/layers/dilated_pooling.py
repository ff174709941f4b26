"""Poolings whose windows have gaps. Shapes: B images, H x W cells, C channels."""

import functools
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfsegloss_models")
class DilatedPooling2D(keras.layers.Layer):
    """Maximum or average over a window of cells that lie `rate` cells apart, at every cell.

    Args:
        kind: "max" or "average".
        side: Cells of the window along each side, ≥ 1.
        rate: ≥ 1.
        padding: Cells before and behind rows and columns. They are in no maximum and no average.

    Returns:
        `(batch, height', width', channels)`, each side changed by the padding − (side − 1) · rate.

    Example:
        >>> x = tf.reshape(tf.range(5.0), [1, 1, 5, 1])
        >>> layer = DilatedPooling2D("max", 2, rate=2, padding=(0, 2))
        >>> layer(x)[0, 0, :, 0].numpy().tolist()
        [2.0, 3.0, 4.0, 3.0, 4.0]
    """

    def __init__(
        self, kind: str, side: int, *, rate: int, padding: tuple[int, int], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.side = side
        self.rate = rate
        self.padding = tuple(padding)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:  # [B, H, W, C]
        """Pool `inputs`, along the rows and then along the columns."""
        return self._pooled(self._pooled(inputs, axis=1), axis=2)

    def _pooled(self, x: tf.Tensor, axis: int) -> tf.Tensor:
        if self.kind == "max":
            return functools.reduce(tf.maximum, self._taps(x, axis, x.dtype.min))
        shape = [1, 1, 1, 1]
        shape[axis] = tf.shape(x)[axis]
        inside = self._taps(tf.ones(shape, x.dtype), axis, 0)
        return tf.add_n(self._taps(x, axis, 0)) / tf.add_n(inside)

    def _taps(self, x: tf.Tensor, axis: int, fill: float) -> list[tf.Tensor]:
        """Return what each tap of the window sees along an axis."""
        paddings = [[0, 0]] * 4
        paddings[axis] = self.padding
        x = tf.pad(x, paddings, constant_values=fill)
        length = tf.shape(x)[axis] - (self.side - 1) * self.rate
        return [
            tf.gather(x, tf.range(length) + tap * self.rate, axis=axis) for tap in range(self.side)
        ]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Change the sides where they are known."""
        batch, height, width, channels = input_shape
        change = sum(self.padding) - (self.side - 1) * self.rate
        sides = (None if s is None else s + change for s in (height, width))
        return (batch, *sides, channels)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        arguments = {
            "kind": self.kind,
            "side": self.side,
            "rate": self.rate,
            "padding": list(self.padding),
        }
        return {**super().get_config(), **arguments}
