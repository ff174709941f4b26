"""Losses that remember: a variable that every backward pass moves, and nothing else does."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tfsegloss.losses.base import SegmentationLoss


class StatefulLoss(SegmentationLoss):
    """Base of the losses with a variable that backward passes move.

    A subclass implements `initial_state` and, in `terms`, moves the state with `in_backward_pass`.
    The variable is made by the first call, or by `build`: call that in the scope of a strategy
    whose replicas will train with the loss. A model's `.keras` file holds it; a training loop
    keeps `variables` in its checkpoint.
    """

    _state: tf.Variable | None = None

    def initial_state(self, num_classes: int) -> tf.Tensor:
        """Return what the variable starts from."""
        raise NotImplementedError

    @property
    def variables(self) -> list[tf.Variable]:
        """The variable, where it has been made."""
        return [] if self._state is None else [self._state]

    def build(self, num_classes: int) -> None:
        """Make the variable, if it is not there yet.

        Args:
            num_classes: Number of classes C.
        """
        if self._state is None:
            self._make(lambda: self.initial_state(num_classes))

    def save_own_variables(self, store: dict) -> None:
        """Write the variable into a file of Keras."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store: Mapping) -> None:
        """Read the variable from a file of Keras, before or after the first call."""
        if "0" not in store:  # saved before the first call
            return
        value = np.asarray(store["0"])
        if self._state is None:
            self._make(lambda: tf.constant(value))
        else:
            self._state.assign(value)

    def _make(self, initial: Callable[[], tf.Tensor]) -> None:
        with tf.init_scope():
            # All replicas assign the same value, made from sums over all of them.
            self._state = tf.Variable(
                initial(), trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
            )


def in_backward_pass(logits: tf.Tensor, action: Callable[[], None]) -> tf.Tensor:
    """Return the logits; a backward pass through them runs the action, a forward pass does not.

    The action should assign what follows from the state of the forward pass: then it does not
    matter how often it runs, on how many replicas, for one forward pass.

    Args:
        logits: Any tensor; only outside of a cluster (see `kernels.xla`) can the action sum
            over replicas and assign to variables.
        action: What to do.

    Returns:
        The same values.

    Example:

    >>> passes = tf.Variable(0)
    >>> x = tf.constant(3.0)
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = 2 * in_backward_pass(x, lambda: passes.assign_add(1))
    >>> int(passes), float(tape.gradient(y, x)), int(passes)
    (0, 2.0, 1)
    """

    @tf.custom_gradient
    def identity(logits):
        def gradient(upstream):
            action()
            return upstream

        return tf.identity(logits), gradient

    return identity(logits)
