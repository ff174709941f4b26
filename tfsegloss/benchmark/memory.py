"""What the benchmark measures: the memory that a loss and its gradient take.

Two peaks of the same plain steps, each over the inputs and the gradient:

- with compiling: over what a process holds after steps of Keras' cross-entropy, the first steps of
  the loss and its compiling in it. (On a CPU resident memory: VmHWM less VmRSS. Less Keras' own
  VmHWM it would be 0 for a loss that takes no more than Keras does.)
- steps: over what is held once the first steps are over. What compiling leaves resident is left
  out: 115 MB (cross-entropy) to 360 MB (LAD), for one image of 129² pixels as for two of 513², so
  it is none of the loss' maps, and hides them. A third is TensorFlow's own code, the compiler.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from tfsegloss.benchmark.losses import keras_cross_entropy
from tfsegloss.benchmark.measure import WARM_UP, Shape, gpus, inputs, make_step, wait

# Blocks of this many bytes and more go back to the system when they are freed (glibc); otherwise
# what compiling leaves on the heap hides what a step takes.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536"}


@dataclass(frozen=True)
class Memory:
    """Peaks over the inputs and the gradient as multiples of the logits' size; None: failed."""

    steps: float | None
    with_compiling: float | None


def multiples(
    name: str,
    make: Callable[[], keras.losses.Loss],
    shape: Shape,
    progress: Callable[[str], None],
) -> Memory:
    """Measures the memory of a loss, on a CPU in a process of its own.

    Args:
        name: Of the loss on the command line.
        make: The loss.
        shape: (batch, height, width, classes).
        progress: Called with a line now and then.

    Returns:
        The two peaks.
    """
    progress(f"{name}: memory")
    if gpus():
        return as_multiples(extra_bytes(make, shape), logits_bytes(shape))
    command = [sys.executable, "-m", "tfsegloss.benchmark", "--memory-of", name, "--shape"]
    child = subprocess.run(
        [*command, *map(str, shape)],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
    )
    if child.returncode:
        progress(f"{name}: memory: status {child.returncode}. {child.stderr.strip()[-300:]}")
        return Memory(None, None)
    return as_multiples(json.loads(child.stdout.splitlines()[-1]), logits_bytes(shape))


def as_multiples(extra_bytes: tuple[int, int], logits_bytes: int) -> Memory:
    """Memory as multiples of the logits' size.

    Args:
        extra_bytes: Peaks over the inputs and the gradient; 0 or less is no measurement.
        logits_bytes: > 0.

    Returns:
        The multiples.

    Example:

    >>> as_multiples((30, 0), 20)
    Memory(steps=1.5, with_compiling=None)
    """
    return Memory(*(extra / logits_bytes if extra > 0 else None for extra in extra_bytes))


def logits_bytes(shape: Shape) -> int:
    """Size of float32 logits, and of their gradient."""
    return 4 * math.prod(shape)


def extra_bytes(make: Callable[[], keras.losses.Loss], shape: Shape) -> tuple[int, int]:
    """Peak memory of plain steps over the inputs and the gradient.

    On a CPU that is the whole process' resident memory: call it in a fresh process, with
    `ENVIRONMENT` in its environment.

    Args:
        make: A loss.
        shape: (batch, height, width, classes).

    Returns:
        Bytes of the steps, and with compiling.

    Raises:
        OSError: The system does not let a process forget its peak.
    """
    reset, held, peak = _gpu_memory() if gpus() else _process_memory()
    data = inputs(shape)

    def run(step):
        before = held()
        reset()
        for _ in range(1 + WARM_UP):
            step(*data)
        wait()
        return peak() - before - logits_bytes(shape)

    run(make_step(keras_cross_entropy(), None))
    step = make_step(make(), None)
    with_compiling = run(step)
    return run(step), with_compiling


def _gpu_memory() -> tuple[Callable, Callable, Callable]:
    def of(key):
        return tf.config.experimental.get_memory_info("GPU:0")[key]

    def reset():
        tf.config.experimental.reset_memory_stats("GPU:0")

    return reset, lambda: of("current"), lambda: of("peak")


def _process_memory() -> tuple[Callable, Callable, Callable]:
    def of(key):
        lines = Path("/proc/self/status").read_text().splitlines()
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(key))

    def reset():
        Path("/proc/self/clear_refs").write_text("5")

    return reset, lambda: of("VmRSS:"), lambda: of("VmHWM:")
