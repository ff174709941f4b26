"""Moving averages of the weights, which often predict better than the weights of the last step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf


def averaged_variables(model: keras.Model) -> list[keras.Variable]:
    """Return what is averaged of a network, in the order of the checkpoint.

    All its numbers: the statistics of batch normalization too, as EfficientNet's code and timm do.
    They are averages already, but of other weights than those they would be used with.

    Args:
        model: The network.
    """
    return [v for v in model.weights if keras.backend.is_float_dtype(v.dtype)]


class AveragedWeights:
    """The moving averages of a network's weights.

    After each step a ← a + (1 − m) (w − a), with m = min(momentum, (1 + t) / (10 + t)) after t
    steps: at first the average is over few steps, so that the random first weights are soon
    forgotten (TensorFlow's `ExponentialMovingAverage` with `num_updates`).

    Made inside the strategy's scope; the same on each replica, without communication.

    Args:
        strategy: Of the trainer.
        model: The network, with its first weights.
        momentum: In (0, 1).

    Attributes:
        variables: The averages, of `averaged_variables`.
        are_in_use: Whether the network has them for weights.
    """

    def __init__(self, strategy: tf.distribute.Strategy, model: keras.Model, momentum: float):
        self._strategy, self._momentum = strategy, momentum
        self._weights = averaged_variables(model)
        self.are_in_use = False
        self.variables = [tf.Variable(w.value, trainable=False) for w in self._weights]

    @property
    def of_statistics(self) -> list[tf.Variable]:
        """The averages of what no gradient changes, such as batch normalization's statistics."""
        pairs = zip(self.variables, self._weights, strict=True)
        return [average for average, weight in pairs if not weight.trainable]

    def update(self, steps: tf.Tensor) -> None:
        """Move the averages; to be called after each step, outside of the replicas' code.

        Args:
            steps: Number of steps taken, this one too.
        """
        share = tf.maximum(9 / (10 + tf.cast(steps, tf.float64)), 1 - self._momentum)  # 1 − m

        def move(average: tf.Variable, weight: tf.Variable) -> None:
            average.assign_add(tf.cast(share, average.dtype) * (weight - average))

        self._for_each(move)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the network have the averages for weights inside; afterwards it has its own again."""
        self._exchange()
        self.are_in_use = True
        try:
            yield
        finally:
            self.are_in_use = False
            self._exchange()

    @tf.function
    def _exchange(self) -> None:
        def exchange(average: tf.Variable, weight: tf.Variable) -> None:
            former = tf.identity(average)
            average.assign(weight)
            weight.assign(former)

        self._for_each(exchange)

    def _for_each(self, function: Callable[[tf.Variable, tf.Variable], None]) -> None:
        """Call a function of an average and its weight, on each device with those that it holds."""
        for average, weight in zip(self.variables, self._weights, strict=True):
            self._strategy.extended.update(average, function, args=(weight.value,))
