"""Looks into a step without taking it: norms of gradients, and what the loss says beside them."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from train.loop.accumulation import StepInParts
from train.loop.trainer import Trainer


class Inspection(StepInParts):
    """Passes of a batch through the network as in a step, but no weight moves.

    Who calls the passes restores what they have changed, from `_state`.

    Args:
        trainer: Whose step it is.
    """

    def __init__(self, trainer: Trainer):
        super().__init__(
            trainer.strategy,
            trainer.model,
            trainer.accumulation,
            trainer.losses,
            lambda gradients: None,
            trainer.values,
        )
        self._values_of = trainer.strategy.experimental_local_results
        self._loss = trainer.loss

    def _changing(self) -> list[keras.Variable | tf.Variable]:
        """Return what the passes change: the loss may have a state too."""
        return [*super()._changing(), *self._loss.variables]


class GradientNorms(Inspection):
    """Measures the gradient by all weights, of the loss and of each of its parts, on a batch.

    The gradient is that of training (batch normalization by the batch, dropout), before decay and
    clipping; that of a part is not weighted, as the part is logged. With `trainer.accumulation` it
    is that of the first of the parts of the batch, since all of them have no room.

    Args:
        trainer: Whose gradient it is.
    """

    def __init__(self, trainer: Trainer):
        super().__init__(trainer)
        self._scale = trainer.scale_loss

    def __call__(self, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, float]:
        """Return the norms, and what the loss' `statistics` are on a replica's images.

        Args:
            batch: A (distributed) batch.

        Returns:
            "gradient_norm/loss", "gradient_norm/PART" where there are several parts, and
            "statistics/NAME".
        """
        before = self._state()
        try:
            images, ids = (self._split(values)[0] for values in batch)
            return {name: float(number) for name, number in self._numbers(images, ids).items()}
        finally:
            self._restore(before)

    @tf.function
    def _numbers(self, images: tf.Tensor, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        numbers = self._run(self._of_replica, args=(images, ids))
        return {name: self._values_of(number)[0] for name, number in numbers.items()}

    def _of_replica(self, images: tf.Tensor, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        variables = self._model.trainable_variables
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        with tf.GradientTape(persistent=True) as tape:
            logits = self._logits(images)
            losses = self._losses(ids, logits)
            parts = losses.parts if len(losses.parts) > 1 else {}
            # The global batch's part is their mean; its loss is their sum.
            scaled = {name: self._scale(part / replicas) for name, part in parts.items()}
        found = {}
        for name, value in {"loss": losses.scaled, **scaled}.items():
            norm = _norm(tape.gradient(value, variables))
            found[f"gradient_norm/{name}"] = norm / tf.cast(self._scale(1.0), norm.dtype)
        statistics = self._loss.statistics(ids, logits)
        return found | {f"statistics/{name}": value for name, value in statistics.items()}


def _norm(gradients: Sequence[tf.Tensor | None]) -> tf.Tensor:
    """Return the norm of the sum over the replicas."""
    known = [gradient for gradient in gradients if gradient is not None]
    if not known:
        return tf.zeros([])
    replicas = tf.distribute.get_replica_context()
    if replicas.num_replicas_in_sync > 1:
        known = replicas.all_reduce(tf.distribute.ReduceOp.SUM, known)
    return tf.linalg.global_norm(known)
