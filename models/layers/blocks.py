"""Blocks of layers that the networks share, and how their batch normalization trains.

Shapes are written with B images, H x W cells and C channels.
"""

import dataclasses
from numbers import Real
from typing import Any, Literal

import keras

# Depthwise kernels see nine inputs whatever the number of channels, which Keras' variance scaling
# does not know. DeepLab's own code draws them with this deviation.
DEPTHWISE_STDDEV = 0.33


@dataclasses.dataclass(frozen=True)
class BatchNorm:
    """How batch normalization trains, over all replicas together.

    Attributes:
        momentum: In [0, 1): share of the old statistics kept at each step.
        epsilon: > 0, added to the variance; of the head, a backbone has its own.
        freeze: True: the statistics stay, and are used in training too. "all": scale and offset
            stay as well.

    Raises:
        ValueError: A number is out of its range.
    """

    momentum: float = 0.99
    epsilon: float = 1e-5
    freeze: bool | Literal["all"] = False

    def __post_init__(self) -> None:
        if not isinstance(self.momentum, Real) or not 0 <= self.momentum < 1:
            raise ValueError(
                f"`batch_norm_momentum` must be in [0, 1). Received: {self.momentum!r}"
            )
        if not isinstance(self.epsilon, Real) or not self.epsilon > 0:
            raise ValueError(f"`batch_norm_epsilon` must be above 0. Received: {self.epsilon!r}")
        if not (isinstance(self.freeze, bool) or self.freeze == "all"):  # 1 == True
            raise ValueError(
                f'`freeze_batch_norm` must be True, False or "all". Received: {self.freeze!r}'
            )

    def like(
        self, layer: keras.layers.BatchNormalization, name: str
    ) -> keras.layers.BatchNormalization:
        """A layer that trains so, and is like another in all else; it has no weights yet.

        Args:
            layer: The other. If it is not trainable, neither is the new one.
            name: Of the new one.

        Raises:
            ValueError: The statistics of a class of one's own cannot be frozen.
        """
        kind = type(layer)
        if self.freeze is True:
            if kind not in (keras.layers.BatchNormalization, FixedStatistics):
                raise ValueError(
                    '`freeze_batch_norm` must be False or "all" for batch normalization of a class '
                    f"of its own. Received: layer={layer.name!r} ({kind.__name__})"
                )
            kind = FixedStatistics
        # A layer that is not trainable leaves its statistics alone too.
        trainable = layer.trainable and self.freeze != "all"
        training = {"momentum": self.momentum, "synchronized": True, "trainable": trainable}
        return kind.from_config({**layer.get_config(), **training, "name": name})

    def __call__(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Normalize `x` by a new layer."""
        return self.like(keras.layers.BatchNormalization(epsilon=self.epsilon), name)(x)


@keras.saving.register_keras_serializable(package="tfsegloss_models")
class FixedStatistics(keras.layers.BatchNormalization):
    """Batch normalization that uses its moving statistics in training too, and leaves them alone.

    Example:
        >>> x = tf.constant([[3.0], [5.0]])
        >>> FixedStatistics(epsilon=0.0)(x, training=True).numpy().tolist()
        [[3.0], [5.0]]
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize `inputs`."""
        # A call with training=False would not do: a functional model passes on its own `training`.
        return super().call(inputs, training=False, mask=mask)


# Files of weights name layers by their class: those of a first stage fit the second.
FixedStatistics.__name__ = "BatchNormalization"


def conv_block(
    x: keras.KerasTensor, filters: int, side: int, *, norm: BatchNorm, name: str, rate: int = 1
) -> keras.KerasTensor:
    """Convolution, batch normalization, ReLU.

    Args:
        x: Features `(batch, height, width, channels)`.
        filters: Number of output channels.
        side: Side of the kernel, odd.
        norm: Of the batch normalization.
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
    return keras.layers.ReLU(name=f"{name}_relu")(norm(x, f"{name}_bn"))


def separable_conv_block(
    x: keras.KerasTensor, filters: int, side: int, *, norm: BatchNorm, name: str, rate: int = 1
) -> keras.KerasTensor:
    """Depthwise convolution, then a pointwise one, batch normalization and ReLU after both.

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
    x = keras.layers.ReLU(name=f"{name}_depthwise_relu")(norm(x, f"{name}_depthwise_bn"))
    return conv_block(x, filters, 1, norm=norm, name=f"{name}_pointwise")


def conv_same(
    x: keras.KerasTensor,
    filters: int,
    side: int,
    *,
    batch_norm: dict[str, Any],
    name: str,
    stride: int = 1,
    relu: bool = True,
) -> keras.KerasTensor:
    """Convolution, padded evenly whatever its stride and the parity of the map, and batch norm.

    TensorFlow's own "same" pads a strided kernel by where its last window ends: at even sizes the
    features would move by a pixel.

    Args:
        x: Features `(batch, height, width, channels)`.
        filters: Number of output channels.
        side: Side of the kernel, odd.
        batch_norm: Arguments of `keras.layers.BatchNormalization`.
        name: Of the convolution, prefix of the other layers' names.
        stride: Of the kernel.
        relu: Whether a ReLU follows.

    Returns:
        Features `(batch, ⌈height/stride⌉, ⌈width/stride⌉, filters)`.
    """
    by_hand = stride > 1 and side > 1
    if by_hand:
        x = keras.layers.ZeroPadding2D(side // 2, name=f"{name}_padding")(x)
    x = keras.layers.Conv2D(
        filters,
        side,
        strides=stride,
        padding="valid" if by_hand else "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    x = keras.layers.BatchNormalization(**batch_norm, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x
