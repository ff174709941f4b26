"""How long a step takes: what the loop adds to a bare one, and what each loss adds."""

import io
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfsegloss import SegmentationLoss, SoftmaxCrossEntropy
from tfsegloss.benchmark.measure import inputs, make_step
from train.common import signals
from train.config import TrainerConfig
from train.loop.distribution import choose_strategy
from train.loop.evaluation import Scores
from train.loop.fit import fit
from train.loop.schedules import PolynomialWithWarmup
from train.loop.trainer import Trainer
from train.runs.reporting import ProgressReport
from train.runs.watching import MEGABYTE, Curves, EventFile, memory_in_use

RATE = 0.01


class LoopCost(NamedTuple):
    """Seconds of a step, bare and in the loop, and the memory that is in use then, by round."""

    bare: list[float]
    loop: list[float]
    megabytes: list[float]  # after each round; NaN where the system does not tell

    @property
    def ratio(self) -> float:
        """The median of what the loop takes over what a bare step does in the same round."""
        pairs = zip(self.loop, self.bare, strict=True)
        return statistics.median(loop / bare for loop, bare in pairs)

    @property
    def growth(self) -> float:
        """The megabytes by which memory grew after the first round, in which all is compiled."""
        return self.megabytes[-1] - self.megabytes[0]


def loop_cost(
    make: Callable[[], keras.Model], crop: tuple[int, int], batch_size: int, steps: int, rounds: int
) -> LoopCost:
    """Compare steps of the loop, with all that a run's shows and writes, to bare ones.

    A bare step is a `tf.function` of the network, cross-entropy, its gradient and SGD, on a batch
    that is there. The two take turns, and the loop's batch is always the same too. Evaluations,
    checkpoints and reading of files are left out: `train bench-input` measures the last.

    Args:
        make: Builds the network.
        crop: Height and width of the images.
        batch_size: Number of images.
        steps: Of each round, of each kind.
        rounds: How many.
    """
    model = make()
    num_classes = model.output_shape[-1]
    ids, _ = inputs((batch_size, *crop, num_classes))
    images = np.random.default_rng(0).integers(0, 256, [batch_size, *crop, 3], np.uint8)
    batch = tf.constant(images), tf.cast(ids, tf.uint8)
    bare = bare_step(make(), SoftmaxCrossEntropy())
    bare(*batch)
    cost = LoopCost([], [], [])
    with tempfile.TemporaryDirectory() as folder:
        loop = _Loop(model, batch, steps, Path(folder))
        for _ in range(rounds):
            cost.bare.append(_seconds(partial(bare, *batch), steps))
            cost.loop.append(loop.seconds_per_step())
            cost.megabytes.append(megabytes_in_use())
    return cost


def megabytes_in_use() -> float:
    """Return the memory in use now; a peak would hide what grows below that of compiling."""
    found = [n for name, n in memory_in_use().items() if name.endswith(" current")]
    return sum(found) / MEGABYTE if found else math.nan


def bare_step(model: keras.Model, loss: SegmentationLoss) -> Callable:
    """Return a step as one would write it by hand."""
    optimizer = keras.optimizers.SGD(RATE, momentum=0.9)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(images, ids):
        with tf.GradientTape() as tape:
            value = loss(ids, model(tf.cast(images, tf.float32), training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value

    return step


class _Loop:
    """A run's loop on one batch, some steps at a time."""

    def __init__(self, model: keras.Model, batch: tuple, steps: int, folder: Path):
        schedule = PolynomialWithWarmup(RATE, steps=10**9, warmup_steps=0)
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9)
        strategy = choose_strategy(1)
        with strategy.scope():
            self._trainer = Trainer(
                strategy=strategy,
                model=model,
                loss=SoftmaxCrossEntropy(),
                optimizer=optimizer,
                folder=folder,
                schedule=schedule,
            )
        stream = tf.data.Dataset.from_tensors(batch).repeat()
        self._batches = strategy.experimental_distribute_dataset(stream)
        self._scores = Scores(np.eye(model.output_shape[-1]), (), 0)
        self._steps, self._folder, self._batch_size = steps, folder, len(batch[0])

    def seconds_per_step(self) -> float:
        """Take the steps of a round; the first, whose start nobody sees, is not measured."""
        trainer, step = self._trainer, self._trainer.step
        end = step + self._steps
        config = TrainerConfig(steps=end, evaluate_every=end, checkpoint_every=end)
        progress = ProgressReport(end, step, 0, self._batch_size)
        curves = Curves(EventFile(self._folder), progress, lambda: trainer.learning_rate)
        with redirect_stdout(io.StringIO()):  # what is printed is counted, not shown
            callbacks = [curves, progress]
            fit(trainer, lambda _: self._batches, config, lambda: self._scores, callbacks)
        signals.raise_caught()
        return progress.seconds_per_step


class LossCost(NamedTuple):
    """Seconds of a loss and its gradient, and of a whole step with Keras' cross-entropy."""

    loss: float
    keras: float
    step: float

    @property
    def share(self) -> float:
        """What the loss adds to a step, where Keras' cross-entropy is in its place."""
        return (self.loss - self.keras) / self.step


def loss_costs(
    make: Callable[[], keras.Model],
    losses: Mapping[str, Callable[[], keras.losses.Loss]],
    reference: str,
    shape: tuple[int, int, int, int],
    rounds: int,
) -> Iterator[tuple[str, LossCost]]:
    """Yield what each loss takes beside a step of a network.

    The loss is timed apart, on logits of the network's size: within a step of seconds its share
    would drown in the noise.

    Args:
        make: Builds the network.
        losses: By name.
        reference: The name of Keras' cross-entropy among them.
        shape: (batch, height, width, classes).
        rounds: Medians of so many.
    """
    data = inputs(shape)
    images = tf.random.uniform([*shape[:3], 3], 0, 255)
    step = partial(bare_step(make(), losses[reference]()), images, data[0])
    network, seconds = _median(step, rounds), {}
    for name in (reference, *(name for name in losses if name != reference)):
        seconds[name] = _median(partial(make_step(losses[name](), None), *data), rounds)
        if name != reference:
            yield name, LossCost(seconds[name], seconds[reference], network)


def _median(call: Callable[[], object], rounds: int) -> float:
    call()
    return statistics.median(_seconds(call, 1) for _ in range(rounds))


def _seconds(call: Callable[[], object], times: int) -> float:
    """Return the seconds of a call, the mean of several."""
    start = time.perf_counter()
    for _ in range(times):
        result = call()
    np.asarray(tf.nest.flatten(result)[0])  # waits for the device
    return (time.perf_counter() - start) / times
