"""How batch normalization trains, in a backbone and behind it."""

import dataclasses
from numbers import Real
from typing import Any, Literal

import keras


@dataclasses.dataclass(frozen=True)
class BatchNorm:
    """How batch normalization trains, over all replicas together.

    Attributes:
        momentum: In [0, 1): share of the old statistics kept at each step.
        epsilon: > 0, added to the variance in the head; a backbone keeps its own.
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
        if not (isinstance(self.freeze, bool) or self.freeze == "all"):  # `in` would accept 1
            raise ValueError(
                f'`freeze_batch_norm` must be True, False or "all". Received: {self.freeze!r}'
            )

    def like(
        self, layer: keras.layers.BatchNormalization, name: str
    ) -> keras.layers.BatchNormalization:
        """Return a layer without weights yet that trains so, and is like another in all else.

        Args:
            layer: The other. If it is not trainable, neither is the new one.
            name: Of the new one.

        Raises:
            ValueError: The layer is of a user's own class, whose statistics cannot be frozen.
        """
        kind = type(layer)
        if self.freeze is True:
            if kind not in (keras.layers.BatchNormalization, FixedStatistics):
                raise ValueError(
                    '`freeze_batch_norm` must be False or "all" for batch normalization of a class '
                    f"of its own. Received: layer={layer.name!r} ({kind.__name__})"
                )
            kind = FixedStatistics
        # Keras also leaves the statistics of a layer alone that is not trainable.
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
        # Calling a plain layer with training=False would not do: a functional model overrides it.
        return super().call(inputs, training=False, mask=mask)


# Weight files name layers by their class. With the plain name, weights of a first stage of training
# fit a second one whose statistics are frozen.
FixedStatistics.__name__ = "BatchNormalization"
