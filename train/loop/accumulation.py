"""A step on more images than fit into memory: the gradient is accumulated part by part."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


class StepInParts:
    """Takes the step of a whole batch, though the network sees a part of its images at a time.

    Losses divide by counts over the batch, sort it, or take logarithms of its sums: a mean of the
    parts' losses would be another loss. So all parts go through the network first, without what a
    gradient needs; the loss sees the logits of the whole batch, and gives their gradient; then each
    part goes through again and adds its share of the gradient of the weights. The second time
    statistics and random generators start from where they were the first time: the same dropout,
    and one update of the statistics for each part.

    Args:
        strategy: Of the trainer.
        model: Logits from images.
        count: Number of parts.
        losses: Of labels and logits of a replica; its `scaled` is differentiated.
        apply: Takes the step of the replicas' gradients.
        reduced: Makes what the step returns of the losses of the replicas.
        xla: Whether XLA compiles what computes losses and gradients; on one device.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        count: int,
        losses: Callable[[tf.Tensor, tf.Tensor], Any],
        apply: Callable[[list[tf.Tensor]], None],
        reduced: Callable[[Any], dict[str, tf.Tensor]],
        *,
        xla: bool = False,
    ):
        self._run, self._model, self._count = strategy.run, model, count
        self._losses, self._reduced = losses, reduced
        self._apply = tf.function(lambda gradients: apply(self._placed(gradients)))
        compiled = {"jit_compile": xla or None}
        self._forward = tf.function(self._forward, **compiled)
        self._loss_and_gradient = tf.function(self._loss_and_gradient, **compiled)
        self._backward = tf.function(self._backward, **compiled)

    def __call__(self, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take one step on a (distributed) batch."""
        images, ids = batch
        parts = self._split(images)
        before = self._state()
        logits = [self._forward(part) for part in parts]
        values, upstream = self._loss_and_gradient(ids, logits)
        self._restore(before)
        total = self._backward(parts[0], upstream[0])
        for part, gradient in zip(parts[1:], upstream[1:], strict=True):
            total = self._sum(total, self._backward(part, gradient))
        self._apply(total)
        return values

    @tf.function
    def _split(self, images: tf.Tensor) -> list[tf.Tensor]:
        return self._run(lambda x: tf.split(x, self._count), args=(images,))

    @tf.function
    def _state(self) -> list[tf.Tensor]:
        return self._run(lambda: [tf.identity(v) for v in self._changing()])

    @tf.function
    def _restore(self, values: list[tf.Tensor]) -> None:
        def assign(values):
            for variable, value in zip(self._changing(), values, strict=True):
                variable.assign(value)

        self._run(assign, args=(values,))

    def _forward(self, images: tf.Tensor) -> tf.Tensor:
        return self._run(self._logits, args=(images,))

    def _loss_and_gradient(
        self, ids: tf.Tensor, logits: list[tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
        def of_replica(ids, logits):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                losses = self._losses(ids, tf.concat(logits, axis=0))
            return losses, tape.gradient(losses.scaled, logits)

        losses, gradient = self._run(of_replica, args=(ids, logits))
        return self._reduced(losses), gradient

    def _backward(self, images: tf.Tensor, upstream: tf.Tensor) -> list[tf.Tensor]:
        def of_replica(images, upstream):
            with tf.GradientTape() as tape:
                logits = self._logits(images)
            return tape.gradient(
                logits,
                self._model.trainable_variables,
                output_gradients=upstream,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )

        return self._run(of_replica, args=(images, upstream))

    @tf.function
    def _sum(self, total: list[tf.Tensor], more: list[tf.Tensor]) -> list[tf.Tensor]:
        def add(total, more):
            return [a + b for a, b in zip(total, more, strict=True)]

        return self._run(add, args=(total, more))

    def _placed(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Place gradients, arguments of a graph, on their device: a cluster asks where to sum."""
        return self._run(lambda values: [tf.identity(v) for v in values], args=(gradients,))

    def _logits(self, images: tf.Tensor) -> tf.Tensor:
        return self._model(tf.cast(images, keras.config.floatx()), training=True)

    def _changing(self) -> list[keras.Variable | tf.Variable]:
        """Return what a forward pass changes: running statistics and random generators."""
        return [v for v in self._model.variables if not v.trainable]
