"""What the benchmark measures: how long a loss and its gradient take."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsegloss.core.keras_versions import keras

REFERENCE = "Keras"  # the name of the loss that the times are divided by
MODES = {"plain": None, "compiled": True}  # what `tf.function` gets as `jit_compile`
IGNORED = 255
IGNORED_SHARE = 0.05
PATCH = 8  # pixels; labels come in blobs
WARM_UP = 2  # steps after the first call

SIDES = (129, 257, 513, 1025)
FITTED_SIDE = 257  # below, what a call costs whatever its size hides the growth
CLASSES = (3, 6, 21, 60, 150)
CLASSES_SIDE = 257
GROWTH_RUNS = 5

Shape = tuple[int, int, int, int]
Step = Callable[[tf.Tensor, tf.Tensor], Any]
Losses = Mapping[str, Callable[[], keras.losses.Loss]]


class Seconds(NamedTuple):
    """How long a step takes."""

    wall: float
    cpu: float  # of all threads of this process, the compiler's too


@dataclass(frozen=True)
class Timing:
    """Seconds of the first call (tracing and compiling in it) and of the rounds after warm-up."""

    first_call_seconds: float
    rounds_seconds: list[float]
    median_seconds: float
    ratio: float  # to Keras in a plain tf.function
    compile_cpu_seconds: float  # of all cores: the first call less a later one
    compile_over_keras: float  # CPU-seconds less those of Keras in the same mode


@dataclass(frozen=True)
class Growth:
    """Least seconds of a step at each size, and their exponent over the fitted sizes."""

    sizes: list[int]
    seconds: list[float]
    fitted_from: int
    exponent: float


def inputs(shape: Shape, seed: int = 0) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw blobs of labels, some ignored, and logits.

    Of more than 255 classes one, whose id is 255, is ignored too.

    Args:
        shape: (batch, height, width, classes).
        seed: Of both.

    Returns:
        int32 ids `[B, H, W]` and float32 logits `[B, H, W, C]`.

    Example:

    >>> ids, logits = inputs((1, 9, 9, 3))
    >>> ids.shape, logits.shape
    (TensorShape([1, 9, 9]), TensorShape([1, 9, 9, 3]))
    """
    random = np.random.default_rng(seed)
    images, height, width, num_classes = shape
    patches = [images, -(-height // PATCH), -(-width // PATCH)]
    ids = random.integers(num_classes, size=patches, dtype=np.int32)
    ids = ids.repeat(PATCH, axis=1).repeat(PATCH, axis=2)[:, :height, :width]
    ids = np.where(random.random(ids.shape) < IGNORED_SHARE, np.int32(IGNORED), ids)
    return tf.constant(ids), tf.constant(random.standard_normal(shape, dtype=np.float32))


def make_step(loss: keras.losses.Loss, compiled: bool | None) -> Step:
    """Make a function of ids and logits: the loss and its gradient by the logits.

    Args:
        loss: Whose variables, if it has any, are still to be made.
        compiled: What `tf.function` gets as `jit_compile`.

    Returns:
        A `tf.function`, not traced yet.
    """

    @tf.function(jit_compile=compiled)
    def step(ids, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(ids, logits)
        return value, tape.gradient(value, logits)

    return step


def times(
    makers: Losses, shape: Shape, rounds: int, progress: Callable[[str], None]
) -> dict[str, dict[str, Timing]]:
    """Time all losses in turn, so that whatever slows the machine slows all of them.

    Args:
        makers: By name, `REFERENCE` among them.
        shape: (batch, height, width, classes).
        rounds: ≥ 1: measured steps of each loss in each mode.
        progress: Called with a line now and then.

    Returns:
        By name and by mode.
    """
    data = inputs(shape)
    steps, first, later = {}, {}, {}
    for name, make in makers.items():
        for mode, compiled in MODES.items():
            steps[name, mode] = step = make_step(make(), compiled)
            first[name, mode] = _seconds(step, data)
            progress(f"{name}, {mode}: first call {first[name, mode].wall:.1f} s")
    for _ in range(WARM_UP):
        for step in steps.values():
            step(*data)
    for key in steps:
        later[key] = []
    for i in range(rounds):
        progress(f"round {i + 1} of {rounds}")
        for key, step in steps.items():
            later[key].append(_seconds(step, data))
    return {name: {mode: _timing(name, mode, first, later) for mode in MODES} for name in makers}


def pixel_growth(make: Callable[[], keras.losses.Loss], num_classes: int) -> Growth:
    """Measure how the time of a step grows with the pixels of one image.

    Args:
        make: A loss.
        num_classes: Of the logits.

    Returns:
        Its sizes are numbers of pixels.
    """
    seconds = [_least_seconds(make, (1, side, side, num_classes)) for side in SIDES]
    pixels = [side**2 for side in SIDES]
    return _growth(pixels, seconds, FITTED_SIDE**2)


def class_growth(make: Callable[[], keras.losses.Loss]) -> Growth:
    """Measure how the time of a step on one image grows with the classes.

    Args:
        make: A loss.

    Returns:
        Its sizes are numbers of classes.
    """
    sides = (CLASSES_SIDE, CLASSES_SIDE)
    seconds = [_least_seconds(make, (1, *sides, num_classes)) for num_classes in CLASSES]
    return _growth(list(CLASSES), seconds, CLASSES[0])


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Fit a in seconds ~ sizes^a: the slope of log seconds over log sizes (least squares).

    Args:
        sizes: > 0, at least two different ones.
        seconds: > 0, as many.

    Returns:
        The slope.

    Example:

    >>> round(exponent([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    return statistics.linear_regression(
        [math.log(size) for size in sizes], [math.log(second) for second in seconds]
    ).slope


def gpus() -> list[tf.config.PhysicalDevice]:
    """Return the GPUs that TensorFlow sees."""
    return tf.config.list_physical_devices("GPU")


def wait() -> None:
    """Wait until the device has done what it was given."""
    if gpus():
        tf.test.experimental.sync_devices()


def _seconds(step: Step, data: tuple[tf.Tensor, tf.Tensor]) -> Seconds:
    wait()
    wall, cpu = time.perf_counter(), time.process_time()
    step(*data)
    wait()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def _timing(name: str, mode: str, first: Mapping, later: Mapping) -> Timing:
    """Return the timing of a loss in a mode, beside Keras'."""

    def median(key, of):
        return statistics.median(getattr(seconds, of) for seconds in later[key])

    def compiling(key):
        return first[key].cpu - median(key, "cpu")

    wall, key = median((name, mode), "wall"), (name, mode)
    return Timing(
        first_call_seconds=first[key].wall,
        rounds_seconds=[seconds.wall for seconds in later[key]],
        median_seconds=wall,
        ratio=wall / median((REFERENCE, "plain"), "wall"),
        compile_cpu_seconds=compiling(key),
        compile_over_keras=compiling(key) - compiling((REFERENCE, mode)),
    )


def _least_seconds(make: Callable[[], keras.losses.Loss], shape: Shape) -> float:
    step, data = make_step(make(), None), inputs(shape)
    for _ in range(1 + WARM_UP):
        step(*data)
    return min(_seconds(step, data).wall for _ in range(GROWTH_RUNS))


def _growth(sizes: list[int], seconds: list[float], fitted_from: int) -> Growth:
    fitted = [pair for pair in zip(sizes, seconds, strict=True) if pair[0] >= fitted_from]
    return Growth(sizes, seconds, fitted_from, exponent(*zip(*fitted, strict=True)))
