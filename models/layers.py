"""Blocks and small layers that the networks share.

Shapes are written with B images, H x W cells and C channels.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

# Batch normalisation of everything behind the backbone, as in DeepLab's own code.
HEAD_EPSILON = 1e-5

# Depthwise kernels see nine inputs whatever the number of channels, which Keras' variance scaling
# does not know. DeepLab's own code draws them with this deviation.
DEPTHWISE_STDDEV = 0.33


def full_precision() -> str:
    """Dtype of what must not be rounded: float32, or float64 where Keras runs in float64."""
    return "float64" if keras.config.dtype_policy().variable_dtype == "float64" else "float32"


def conv_block(
    x: keras.KerasTensor, filters: int, side: int, *, momentum: float, name: str, rate: int = 1
) -> keras.KerasTensor:
    """Convolution, batch normalisation, ReLU.

    Args:
        x: Features `(batch, height, width, channels)`.
        filters: Number of output channels.
        side: Side of the kernel, odd.
        momentum: Of the batch normalisation, in [0, 1).
        name: Prefix of the three layers' names.
        rate: Dilation.

    Returns:
        Features `(batch, height, width, filters)`.
    """
    x = keras.layers.Conv2D(
        filters,
        side,
        dilation_rate=rate,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return _normalised_relu(x, momentum, name)


def separable_conv_block(
    x: keras.KerasTensor, filters: int, side: int, *, momentum: float, name: str, rate: int = 1
) -> keras.KerasTensor:
    """Depthwise convolution, then a pointwise one, batch normalisation and ReLU after both.

    Arguments and result are those of `conv_block`.
    """
    x = keras.layers.DepthwiseConv2D(
        side,
        dilation_rate=rate,
        padding="same",
        use_bias=False,
        depthwise_initializer=keras.initializers.TruncatedNormal(stddev=DEPTHWISE_STDDEV),
        name=f"{name}_depthwise",
    )(x)
    x = _normalised_relu(x, momentum, f"{name}_depthwise")
    return conv_block(x, filters, 1, momentum=momentum, name=f"{name}_pointwise")


def _normalised_relu(x: keras.KerasTensor, momentum: float, name: str) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(
        momentum=momentum, epsilon=HEAD_EPSILON, synchronized=True, name=f"{name}_bn"
    )(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


@keras.saving.register_keras_serializable(package="tfsegloss_models")
class PixelNormalization(keras.layers.Layer):
    """RGB values 0–255 to what a backbone was trained on: `scale * channels + offset`.

    Args:
        scale: Factor of every channel.
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
        scale: float = 1.0,
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
        """Normalise `inputs`."""
        if self.bgr:
            inputs = tf.reverse(inputs, axis=[-1])
        return inputs * self.scale + tf.constant(self.offset, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return the shape of the input."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        config = super().get_config()
        return {**config, "scale": self.scale, "offset": list(self.offset), "bgr": self.bgr}


@keras.saving.register_keras_serializable(package="tfsegloss_models")
class PadToMultiple(keras.layers.Layer):
    """Append zeros at the bottom and at the right until both sides are multiples of `multiple`.

    Args:
        multiple: Positive integer.

    Returns:
        `(batch, ⌈height/multiple⌉·multiple, ⌈width/multiple⌉·multiple, channels)`.

    Example:
        >>> models.layers.PadToMultiple(16)(tf.zeros([1, 33, 41, 3])).shape
        TensorShape([1, 48, 48, 3])
    """

    def __init__(self, multiple: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, inputs: tf.Tensor) -> tf.Tensor:  # [B, H, W, C]
        """Pad `inputs`."""
        sides = tf.shape(inputs)[1:3]
        missing = tf.math.floormod(-sides, self.multiple)
        padded = tf.pad(inputs, [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])
        padded.set_shape(self.compute_output_shape(inputs.shape))
        return padded

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Round the sides up where they are known."""
        batch, height, width, channels = input_shape
        sides = (None if s is None else s + -s % self.multiple for s in (height, width))
        return (batch, *sides, channels)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "multiple": self.multiple}


class _SizedLike(keras.layers.Layer):
    """Called on `[features, like]`; the result has the sides of `like`."""

    def compute_output_shape(self, input_shape: Sequence[tuple]) -> tuple:
        """Take the sides of the second input."""
        features, like = input_shape
        return (features[0], like[1], like[2], features[3])


@keras.saving.register_keras_serializable(package="tfsegloss_models")
class ResizeLike(_SizedLike):
    """Resize features bilinearly, by centres of pixels, to the size of other features.

    Called on `[features, like]`.

    Returns:
        `(batch, height of like, width of like, channels of features)`.

    Example:
        >>> models.layers.ResizeLike()([tf.zeros([1, 3, 4, 7]), tf.zeros([1, 48, 64, 2])]).shape
        TensorShape([1, 48, 64, 7])
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:  # [B, h, w, C], [B, H, W, ·]
        """Resize the first input."""
        features, like = inputs
        resized = tf.image.resize(features, tf.shape(like)[1:3], method="bilinear")  # float32
        resized.set_shape(self.compute_output_shape([features.shape, like.shape]))
        return tf.cast(resized, features.dtype)


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
