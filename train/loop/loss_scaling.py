"""The scale of the loss in float16, which would round small gradients to 0."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from train.common.errors import UserError

# As Keras' `LossScaleOptimizer`.
INITIAL = 2.0**15
STEPS_UNTIL_DOUBLED = 2000
# Gradients that are too large for float16 at this scale are not so because of it.
LEAST = 2.0**-14


class LossScale:
    """The factor of a loss whose gradient passes through float16.

    Where a gradient of the global batch is not finite the weights stay, and the factor is halved;
    after 2000 steps without, it is doubled. A step whose weights stay is a step all the same, with
    images of its own, a learning rate, a number and a place in the schedule: only so is the stream
    of images that of the seed. (Keras' optimizer does not count it.)

    Made inside the strategy's scope.

    Args:
        strategy: Of the trainer.
        initial: The first factor.
        steps_until_doubled: Steps without infinity after which it is doubled.

    Attributes:
        variables: What belongs to a checkpoint.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        initial: float = INITIAL,
        steps_until_doubled: int = STEPS_UNTIL_DOUBLED,
    ):
        self._strategy, self._steps_until_doubled = strategy, steps_until_doubled
        self._scale, self._finite_steps, self._skipped_steps = self.variables = [
            tf.Variable(
                value, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
            )
            for value in (float(initial), 0, 0)
        ]

    def scale(self, loss: tf.Tensor) -> tf.Tensor:
        """Return a loss times the factor."""
        return loss * tf.cast(self._scale, loss.dtype)

    def unscale(self, gradients: Sequence[tf.Tensor | None]) -> list[tf.Tensor | None]:
        """Return gradients divided by the factor, a power of 2: nothing is rounded."""
        return [g if g is None else g / tf.cast(self._scale, g.dtype) for g in gradients]

    def step(
        self,
        gradients: Sequence[tf.Tensor | None],
        update: Callable[[], None],
        skip: Callable[[], None],
    ) -> None:
        """Update or skip, and then change the factor; to be called outside of the replicas' code.

        Args:
            gradients: Of the replicas, scaled.
            update: Takes the step.
            skip: Counts it alone.
        """
        is_finite = self._are_finite(gradients)
        tf.cond(is_finite, update, skip)
        finite_steps = tf.where(is_finite, self._finite_steps + 1, 0)
        is_doubled = finite_steps >= self._steps_until_doubled
        self._scale.assign(self._scale * tf.where(is_finite, tf.where(is_doubled, 2.0, 1.0), 0.5))
        self._finite_steps.assign(tf.where(is_doubled, 0, finite_steps))
        self._skipped_steps.assign_add(tf.where(is_finite, 0, 1))

    def _are_finite(self, gradients: Sequence[tf.Tensor | None]) -> tf.Tensor:
        def infinite(gradients):
            known = [g for g in gradients if g is not None]
            return tf.add_n([tf.math.count_nonzero(~tf.math.is_finite(g)) for g in known])

        counts = self._strategy.run(infinite, args=(gradients,))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, counts, axis=None) == 0

    def logs(self) -> dict[str, float]:
        """Return what is logged: the factor, and how many steps left the weights as they were."""
        return {
            "loss_scale": float(self._scale.numpy()),
            "skipped_steps": float(self._skipped_steps.numpy()),
        }

    def check(self, step: int) -> None:
        """Refuse to skip steps for ever.

        Args:
            step: At which.

        Raises:
            UserError: Gradients are not finite at any factor.
        """
        if self._scale.numpy() < LEAST:
            raise UserError(
                f"the gradient is not finite in float16 at step {step}, whatever the loss' scale: "
                "lower optimizer.learning_rate, or choose trainer.precision bfloat16 or float32"
            )
