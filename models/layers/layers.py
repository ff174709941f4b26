"""Small layers that the networks share. Shapes: B images, H x W cells, C channels."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


def full_precision() -> str:
    """Dtype of what must not be rounded: float32, or float64 where Keras runs in float64."""
    return "float64" if keras.config.dtype_policy().variable_dtype == "float64" else "float32"


@keras.saving.register_keras_serializable(package="tfsegloss_models")
class PixelNormalization(keras.layers.Layer):
    """RGB values 0–255 to what a backbone was trained on: `scale * channels + offset`.

    Args:
        scale: Factor of every channel, or three of them.
        offset: Three summands, in the order of the output's channels.
        bgr: Whether the output's channels are blue, green, red.

    Returns:
        `(batch, height, width, 3)` in float32 (float64 where Keras runs in float64): bfloat16
        would round the pixels.

    Example:
        >>> layer = models.layers.PixelNormalization(scale=1 / 127.5, offset=(-1.0, -1.0, -1.0))
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


@keras.saving.register_keras_serializable(package="tfsegloss_models")
class PadToMultiple(keras.layers.Layer):
    """Append zeros at the bottom and at the right until both sides fit a grid of features.

    Args:
        multiple: ≥ 1.
        remainder: In [0, multiple): what the sides leave when divided by `multiple`.

    Returns:
        `(batch, height', width', channels)`, the least sides that fit.

    Example:
        >>> models.layers.PadToMultiple(16)(tf.zeros([1, 33, 41, 3])).shape
        TensorShape([1, 48, 48, 3])
        >>> models.layers.PadToMultiple(16, 1)(tf.zeros([1, 33, 41, 3])).shape
        TensorShape([1, 33, 49, 3])
    """

    def __init__(self, multiple: int, remainder: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple
        self.remainder = remainder

    def call(self, inputs: tf.Tensor) -> tf.Tensor:  # [B, H, W, C]
        """Pad `inputs`."""
        sides = tf.shape(inputs)[1:3]
        missing = tf.math.floormod(self.remainder - sides, self.multiple)
        padded = tf.pad(inputs, [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])
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
        >>> layer = models.layers.DilatedPooling2D("max", 2, rate=2, padding=(0, 2))
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
        """What each tap of the window sees along an axis."""
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
        >>> models.layers.ResizeLike()([tf.zeros([1, 3, 4, 7]), tf.zeros([1, 48, 64, 2])]).shape
        TensorShape([1, 48, 64, 7])
    """

    def __init__(self, corners: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.corners = corners

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:  # [B, h, w, C], [B, H, W, ·]
        """Resize the first input."""
        features, like = inputs
        sides = tf.shape(like)[1:3]
        # Both give float32.
        if self.corners:
            resized = tf.compat.v1.image.resize(features, sides, align_corners=True)
        else:
            resized = tf.image.resize(features, sides, method="bilinear")
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
        >>> models.layers.CropLike()([tf.zeros([1, 48, 48, 7]), tf.zeros([1, 33, 41, 3])]).shape
        TensorShape([1, 33, 41, 7])
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:  # [B, h, w, C], [B, H, W, ·]
        """Crop the first input."""
        features, like = inputs
        sides = tf.shape(like)[1:3]
        cropped = features[:, : sides[0], : sides[1]]
        cropped.set_shape(self.compute_output_shape([features.shape, like.shape]))
        return cropped
