"""What is trained: steps on all replicas, and checkpoints of all that they depend on."""

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers import MultiOptimizer

from tfsegloss import SegmentationLoss
from tfsegloss.metrics import confusion
from train.common.errors import NotFiniteError, UserError
from train.config import TrainerConfig
from train.data.decoding.palette import IGNORED
from train.data.input.sampling import ComplementaryWeights
from train.loop import checkpoints
from train.loop.accumulation import StepInParts
from train.loop.averaging import AveragedWeights, averaged_variables
from train.loop.cluster import (
    ALONE,
    Worker,
    share_first,
    sum_over_workers,
    wait_for_all,
)
from train.loop.epoch_logs import EpochLogs
from train.loop.inference import predict_classes
from train.loop.loss_scaling import LossScale
from train.loop.optimization import GradientRules


class Losses(NamedTuple):
    """What a replica finds in its share of a batch."""

    loss: tf.Tensor  # []
    parts: dict[str, tf.Tensor]  # [] by name
    scaled: tf.Tensor  # [], what is differentiated
    matrix: tf.Tensor | None  # confusion matrix [C, C], where sampling learns from it


class Trainer:
    """A model, its loss and its optimizer, and the steps they take together.

    Made inside the strategy's scope.

    Args:
        strategy: From `choose_strategy`.
        model: Logits from images, both 0 to 255.
        loss: Loss of the labels and the logits.
        optimizer: Its `iterations` are the step count.
        folder: Where checkpoints are; the last one is restored.
        schedule: Of the learning rate, which is logged.
        rules: What is done to gradients; None: nothing.
        accumulation: In how many parts images pass the network.
        sampling_weights: Those of the classes; told how well each is segmented.
        refresh_every: Steps between their changes; None: they change where an epoch begins.
        ema_momentum: Of moving averages of the weights, which are evaluated too; None: none.
        loss_scale: What keeps gradients out of float16's limits.
        xla: Whether a step is compiled by XLA; on one device.
        worker: Which of several processes this is; the first one writes.
    """

    def __init__(
        self,
        *,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        loss: SegmentationLoss,
        optimizer: keras.optimizers.Optimizer,
        folder: Path,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        rules: GradientRules | None = None,
        accumulation: int = 1,
        sampling_weights: ComplementaryWeights | None = None,
        refresh_every: int | None = None,
        ema_momentum: float | None = None,
        loss_scale: LossScale | None = None,
        xla: bool = False,
        worker: Worker = ALONE,
    ):
        self.strategy = strategy
        self.worker = worker
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.sampling_weights = sampling_weights
        self._refresh_every = refresh_every
        self.accumulation = accumulation
        self._schedule, self._rules = schedule, rules or GradientRules()
        self.loss_scale = loss_scale
        self.averages = (
            None if ema_momentum is None else AveragedWeights(strategy, model, ema_momentum)
        )
        if accumulation > 1:
            steps = self.losses, self._apply, self._reduced
            self._step = StepInParts(strategy, model, accumulation, *steps, xla=xla)
        else:
            self._step = tf.function(self._whole_step, jit_compile=xla or None)
        optimizer.build(model.trainable_variables)
        # TensorBoard's callback asks the model for it. The loss is scaled here, where asked for.
        model.compile(optimizer=optimizer, auto_scale_loss=False)
        # TensorFlow's tracking of a Keras model leaves out the states of its random generators.
        weights = {weight.path for weight in model.weights}
        randomness = [v.value for v in model.variables if v.path not in weights]
        loss.build(model.output_shape[-1])
        self.epoch_logs = EpochLogs()
        self._folder = folder
        self._first_state: tempfile.TemporaryDirectory | None = None
        # Of which TensorFlow's tracking of a `MultiOptimizer` leaves out all.
        groups = [*optimizer.optimizers] if isinstance(optimizer, MultiOptimizer) else []
        self._counters = [each.iterations for each in (optimizer, *groups)]
        self._checkpoint = tf.train.Checkpoint(
            **{"groups": groups} if groups else {},
            model=model,
            optimizer=optimizer,
            randomness=randomness,
            loss=loss.variables,
            # Named as in the checkpoints of earlier versions.
            shares=sampling_weights.variables if sampling_weights else [],
            epoch=self.epoch_logs,
            averages=self.averages.variables if self.averages else [],
            loss_scale=loss_scale.variables if loss_scale else [],
        )

    @property
    def can_go_back(self) -> bool:
        """Whether steps can be taken again by this process alone, without other workers."""
        return self.worker.count == 1

    @property
    def uses_averages(self) -> bool:
        """Whether the network has its averages for weights now, to be evaluated."""
        return self.averages is not None and self.averages.are_in_use

    @property
    def step(self) -> int:
        """Number of steps taken."""
        return int(self.optimizer.iterations.numpy())

    @property
    def saved_step(self) -> int:
        """Step of the newest checkpoint; 0: there is none."""
        return max(checkpoints.steps(self._folder), default=0)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step, where no multiplier changes it."""
        return float(self._schedule(self.step))

    def restore(self) -> bool:
        """Restore the newest whole checkpoint; return False where there is none.

        Raises:
            UserError: There are checkpoints, and none can be read; or not all workers read the
                same.
        """
        if not self.worker.is_first:
            wait_for_all(self.strategy, self.worker)  # the first one sets damaged ones aside
        step = self._restore()
        if self.worker.is_first:
            wait_for_all(self.strategy, self.worker)
        number = -1 if step is None else step
        if self.total(float(number)) != number * self.worker.count:
            raise UserError(
                f"{self.worker} read {self._folder} at step {step or 0}, others another: run must "
                "be a folder that all workers share"
            )
        return step is not None

    def _restore(self) -> int | None:
        def restore(path: str) -> None:
            self._checkpoint.read(path).assert_consumed()

        if self.worker.is_first:
            checkpoints.remove_unfinished(self._folder)
        step = checkpoints.restore_newest(self._folder, restore)
        if self.worker.is_first and step is not None and step < checkpoints.steps(self._folder)[0]:
            checkpoints.set_aside(self._folder, step)
        return step

    def total(self, value: np.ndarray | float) -> np.ndarray | float:
        """Return the sum of a value over the workers, who all call this."""
        return sum_over_workers(self.strategy, self.worker, value)

    def share_statistics(self) -> None:
        """Let all devices score with the statistics that the checkpoint has, those of the first."""
        weights = averaged_variables(self.model)
        statistics = [weight.value for weight in weights if not weight.trainable]
        statistics += self.averages.of_statistics if self.averages else []
        share_first(self.strategy, self.worker, statistics)

    def save(self, keep: Collection[int] = ()) -> None:
        """Write a checkpoint, named by the step.

        Args:
            keep: Steps whose checkpoints stay, beside the last ones.

        Raises:
            UserError: A weight is not finite, or the checkpoint cannot be written; those before
                stay the last ones.
        """
        if self.bad_weight() is not None:
            raise NotFiniteError("a weight", self.step)
        if self.worker.is_first:
            checkpoints.write(self._checkpoint, self._folder, self.step, keep)
        self.forget_first_state()

    def keep_first_state(self) -> None:
        """Keep the state before the first step until there is a checkpoint, for `go_back`."""
        if not self.step and self.can_go_back:
            self._first_state = checkpoints.write_unfinished(self._checkpoint, self._folder)

    def forget_first_state(self) -> None:
        """Remove what `go_back` needs as long as there is no checkpoint."""
        if self._first_state is not None:
            self._first_state.cleanup()
            self._first_state = None

    def bad_weight(self) -> str | None:
        """Return the name of the first trainable weight that is not finite; None: all are."""
        variables = self.model.trainable_variables
        finite = tf.stack([tf.reduce_all(tf.math.is_finite(v)) for v in variables]).numpy()
        return None if finite.all() else variables[int(finite.argmin())].path

    def go_back(self, step: int) -> bool:
        """Restore the newest state that is still there of a step or one before it.

        Args:
            step: The step; 0: before the first.

        Returns:
            Whether there is any.
        """
        kept = [at for at in checkpoints.steps(self._folder) if at <= step]
        if not kept and self._first_state is None:
            return False
        path = self._folder / f"ckpt-{kept[0]}" if kept else f"{self._first_state.name}/ckpt"
        self._checkpoint.read(str(path)).assert_consumed()
        return True

    def until_drawn_anew(self, end: int, config: TrainerConfig) -> int:
        """Return how many steps up to a last one draw their classes by the same weights.

        Where they are to be those of the running IoU from now on, they become them.
        """
        count = end - self.step
        if self.sampling_weights:
            refresh_every = self._refresh_every or config.evaluate_every
            done = self.step % refresh_every
            count = min(count, refresh_every - done)
            if not done:
                self.sampling_weights.refresh()
        return count

    def train_step(self, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take one step on a (distributed) batch.

        Returns:
            "loss" of the global batch `[]`, and "loss_PART" of each part where it has several.
        """
        return self._step(batch)

    def _whole_step(self, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        losses, gradients = self.strategy.run(self._losses_and_gradients, args=batch)
        self._apply(gradients)
        return self._reduced(losses)

    def _losses_and_gradients(
        self, images: tf.Tensor, ids: tf.Tensor
    ) -> tuple[Losses, list[tf.Tensor | None]]:
        with tf.GradientTape() as tape:
            logits = self.model(tf.cast(images, keras.config.floatx()), training=True)
            losses = self.losses(ids, logits)
        return losses, tape.gradient(losses.scaled, self.model.trainable_variables)

    def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
        """Return what is differentiated: the loss itself, unless asked otherwise, or in float16."""
        loss = self.optimizer.scale_loss(loss)
        return self.loss_scale.scale(loss) if self.loss_scale else loss

    def losses(self, ids: tf.Tensor, logits: tf.Tensor) -> Losses:
        """Return what a replica finds in its share of a batch."""
        loss, parts = self.loss.value_and_parts(ids, logits)
        scaled = self.scale_loss(loss)
        matrix = None
        if self.sampling_weights:
            matrix = confusion.confusion_matrix(
                ids, predict_classes(logits), logits.shape[-1], ignore_class=IGNORED
            )
        return Losses(loss, parts, scaled, matrix)

    def _apply(self, gradients: list[tf.Tensor | None]) -> None:
        """Take the step of the replicas' gradients, and the averages with it."""

        def update() -> None:
            self.strategy.run(self._update, args=(gradients,))

        if self.loss_scale:
            self.loss_scale.step(gradients, update, lambda: self.strategy.run(self._count))
        else:
            update()
        if self.averages:
            self.averages.update(self.optimizer.iterations.value)

    def _count(self) -> None:
        for counter in self._counters:
            counter.assign_add(1)

    def _update(self, gradients: list[tf.Tensor | None]) -> None:
        variables = self.model.trainable_variables
        if self.loss_scale:
            gradients = self.loss_scale.unscale(gradients)
        gradients = self._rules(gradients, variables, self.optimizer.scale_loss)
        self.optimizer.apply(gradients, variables)

    def _reduced(self, losses: Losses) -> dict[str, tf.Tensor]:
        """Return the losses of the global batch; sampling learns from those of the replicas."""
        if self.sampling_weights:
            matrix = self.strategy.reduce(tf.distribute.ReduceOp.SUM, losses.matrix, axis=None)
            self.sampling_weights.observe(matrix)
        return self.values(losses)

    def values(self, losses: Losses) -> dict[str, tf.Tensor]:
        """Return the losses of the global batch, of those of the replicas."""
        reduce, op = self.strategy.reduce, tf.distribute.ReduceOp
        # Keras' losses divide by the number of replicas: their sum is the global batch's loss.
        values = {"loss": reduce(op.SUM, losses.loss, axis=None)}
        for name, part in losses.parts.items() if len(losses.parts) > 1 else ():
            values[f"loss_{name}"] = reduce(op.MEAN, part, axis=None)
        return values
