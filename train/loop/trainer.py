"""The training loop: steps on all replicas, checkpoints, evaluation, callbacks."""

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras
import tensorflow as tf

from tfsegloss import SegmentationLoss
from tfsegloss.metrics import confusion
from train.common.errors import UserError
from train.config import TrainerConfig
from train.data.decoding.palette import IGNORED
from train.data.input.sampling import ComplementaryWeights
from train.loop.evaluation import Scores
from train.loop.inference import predict_classes

KEPT_CHECKPOINTS = 3
# Reading the loss waits for the device, so it is not read at every step.
STEPS_PER_LOSS_READ = 10


class Trainer:
    """A model, its loss and its optimizer, and the steps they take together.

    Made inside the strategy's scope.

    Args:
        strategy: From `choose_strategy`.
        model: Logits from images, both 0 to 255.
        loss: Loss of the labels and the logits.
        optimizer: Its `iterations` are the step count.
        folder: Where checkpoints are; the last one is restored.
        sampling_weights: Those of the classes; told how well each is segmented.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        loss: SegmentationLoss,
        optimizer: keras.optimizers.Optimizer,
        folder: Path,
        sampling_weights: ComplementaryWeights | None = None,
    ):
        self.strategy = strategy
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.sampling_weights = sampling_weights
        optimizer.build(model.trainable_variables)
        model.compile(optimizer=optimizer)  # TensorBoard's callback asks the model for it
        # TensorFlow's tracking of a Keras model leaves out the states of its random generators.
        weights = {weight.path for weight in model.weights}
        randomness = [v.value for v in model.variables if v.path not in weights]
        loss.build(model.output_shape[-1])
        checkpoint = tf.train.Checkpoint(
            model=model,
            optimizer=optimizer,
            randomness=randomness,
            loss=loss.variables,
            # Named as in the checkpoints of earlier versions.
            shares=sampling_weights.variables if sampling_weights else [],
        )
        self._checkpoints = tf.train.CheckpointManager(
            checkpoint, str(folder), max_to_keep=KEPT_CHECKPOINTS
        )

    @property
    def step(self) -> int:
        """Number of steps taken."""
        return int(self.optimizer.iterations.numpy())

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))

    def restore(self) -> bool:
        """Restore the last checkpoint; return False where there is none."""
        latest = self._checkpoints.latest_checkpoint
        if latest is None:
            return False
        self._checkpoints.checkpoint.restore(latest).assert_consumed()
        return True

    def save(self) -> None:
        """Write a checkpoint, named by the step.

        Raises:
            UserError: A weight is not finite; the checkpoints before stay the last ones.
        """
        finite = [tf.reduce_all(tf.math.is_finite(v)) for v in self.model.trainable_variables]
        if not tf.reduce_all(finite):
            raise UserError(_not_finite("a weight", self.step))
        self._checkpoints.save(checkpoint_number=self.step)

    @tf.function
    def train_step(self, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Take one step on a (distributed) batch.

        Returns:
            "loss" of the global batch `[]`, and "loss_PART" of each part where it has several.
        """
        loss, parts, matrix = self.strategy.run(self._replica_step, args=batch)
        if self.sampling_weights:
            matrix = self.strategy.reduce(tf.distribute.ReduceOp.SUM, matrix, axis=None)
            self.sampling_weights.observe(matrix)
        # Keras' losses divide by the number of replicas: their sum is the global batch's loss.
        values = {"loss": self.strategy.reduce(tf.distribute.ReduceOp.SUM, loss, axis=None)}
        for name, part in parts.items() if len(parts) > 1 else ():
            mean = self.strategy.reduce(tf.distribute.ReduceOp.MEAN, part, axis=None)
            values[f"loss_{name}"] = mean
        return values

    def _replica_step(
        self, images: tf.Tensor, ids: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor], tf.Tensor | None]:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.model(tf.cast(images, keras.config.floatx()), training=True)
            loss, parts = self.loss.value_and_parts(ids, logits)
            scaled = self.optimizer.scale_loss(loss)  # the loss itself, unless asked otherwise
        self.optimizer.apply(tape.gradient(scaled, variables), variables)
        matrix = None
        if self.sampling_weights:
            matrix = confusion.confusion_matrix(
                ids, predict_classes(logits), logits.shape[-1], ignore_class=IGNORED
            )
        return loss, parts, matrix

    def fit(
        self,
        batches: Callable[[int], Iterable],
        config: TrainerConfig,
        evaluate: Callable[[], Scores],
        callbacks: list[keras.callbacks.Callback],
    ) -> None:
        """Step until `config.steps`, in epochs of `config.evaluate_every` steps.

        Args:
            batches: The batches from a step on; asked for at the start of each epoch.
            config: How often what happens.
            evaluate: Called after each epoch; its scores are logged.
            callbacks: Keras callbacks; the progress bar is added.

        Raises:
            UserError: The loss or a weight is not finite.
        """
        every = config.evaluate_every
        if self.step >= config.steps:
            return
        chain = keras.callbacks.CallbackList(
            callbacks,
            add_progbar=True,
            model=self.model,
            verbose=1,
            epochs=-(-config.steps // every),
            steps=min(every, config.steps),
        )
        chain.on_train_begin()
        try:
            for epoch in range(self.step // every, chain.params["epochs"]):
                self._epoch(epoch, batches, config, evaluate, chain)
        except KeyboardInterrupt:
            # At the end of an epoch nothing is saved: its evaluation is not on record yet.
            if self.step % every and self.step < config.steps:
                self.save()
            raise
        finally:
            chain.on_train_end()

    def _epoch(
        self,
        epoch: int,
        batches: Callable[[int], Iterable],
        config: TrainerConfig,
        evaluate: Callable[[], Scores],
        chain: keras.callbacks.CallbackList,
    ) -> None:
        """Take the steps of an epoch, evaluate, and save."""
        every = config.evaluate_every
        chain.on_epoch_begin(epoch)
        if self.sampling_weights and self.step % every == 0:  # not where an epoch is resumed
            self.sampling_weights.refresh()
        stream = iter(batches(self.step))
        logs = self._steps(stream, config, min((epoch + 1) * every, config.steps), chain)
        logs |= {f"val_{name}": value for name, value in evaluate().scalars().items()}
        chain.on_epoch_end(epoch, logs)
        # After the evaluation, so that a run resumed from here has its scores on record.
        self.save()

    def _steps(
        self,
        batches: Iterator,
        config: TrainerConfig,
        end: int,
        chain: keras.callbacks.CallbackList,
    ) -> dict[str, float]:
        """Step until `end`; return the mean losses and the last learning rate."""
        start, totals, logs = self.step, {}, {}
        for step in range(start + 1, end + 1):
            place = (step - 1) % config.evaluate_every
            chain.on_train_batch_begin(place)
            learning_rate = self.learning_rate if step == end else None
            for name, value in self.train_step(next(batches)).items():
                totals[name] = totals.get(name, 0.0) + value
            saves = step % config.checkpoint_every == 0 and step < end
            if saves or step == end or (step - start) % STEPS_PER_LOSS_READ == 1:
                logs = {name: float(total) / (step - start) for name, total in totals.items()}
                if not math.isfinite(logs["loss"]):
                    raise UserError(_not_finite("the loss", step))
            chain.on_train_batch_end(place, logs)
            if saves:
                self.save()
        return {**logs, "learning_rate": learning_rate}


def _not_finite(what: str, step: int) -> str:
    return (
        f"{what} is not finite at step {step}: expected a finite number; lower "
        "optimizer.learning_rate, or look for labels out of range"
    )
