"""What the benchmark measures: the memory that a loss and its gradient take."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from tfsegloss.benchmark_measure import WARM_UP, Shape, gpus, inputs, make_step, wait

# Blocks of this many bytes and more go back to the system when they are freed (glibc); otherwise
# what compiling leaves on the heap hides what a step takes.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536"}
FAILED = "failed"


def multiple(
    name: str,
    make: Callable[[], keras.losses.Loss],
    shape: Shape,
    progress: Callable[[str], None],
) -> tuple[float | str, bool]:
    """Peak memory over the inputs and the gradient, as a multiple of the logits' size.

    Args:
        name: Of the loss on the command line; on a CPU it is measured in a process of its own.
        make: The loss.
        shape: (batch, height, width, classes).
        progress: Called with a line now and then.

    Returns:
        The multiple or `FAILED`, and whether compiling is left out of it.
    """
    progress(f"{name}: memory")
    if gpus():
        extra, without = extra_bytes(make, shape)
    else:
        command = [sys.executable, "-m", "tfsegloss.benchmark", "--memory-of", name, "--shape"]
        child = subprocess.run(
            [*command, *map(str, shape)],
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
        )
        if child.returncode:
            progress(f"{name}: memory: status {child.returncode}. {child.stderr.strip()[-300:]}")
            return FAILED, True
        extra, without = json.loads(child.stdout.splitlines()[-1])
    return as_multiple(extra, logits_bytes(shape)), without


def as_multiple(extra_bytes: int, logits_bytes: int) -> float | str:
    """Memory as a multiple of the logits' size, or `FAILED` where nothing was measured.

    Args:
        extra_bytes: Peak memory over the inputs and the gradient; 0 or less is no measurement.
        logits_bytes: > 0.

    Returns:
        The multiple, or `FAILED`.

    Example:

    >>> as_multiple(30, 20), as_multiple(0, 20)
    (1.5, 'failed')
    """
    return extra_bytes / logits_bytes if extra_bytes > 0 else FAILED


def logits_bytes(shape: Shape) -> int:
    """Size of float32 logits, and of their gradient."""
    return 4 * math.prod(shape)


def extra_bytes(make: Callable[[], keras.losses.Loss], shape: Shape) -> tuple[int, bool]:
    """Peak memory of plain steps over the inputs and the gradient.

    It is the peak while steps run, less what is held between the steps (the inputs, the compiled
    functions), less the gradient. On a CPU that is the whole process' resident memory: call it in
    a fresh process, with `ENVIRONMENT` in its environment.

    Args:
        make: A loss.
        shape: (batch, height, width, classes).

    Returns:
        Bytes, and whether compiling is left out of the peak (it is not where the system does not
        let a process reset its peak).
    """
    step, data = make_step(make(), None), inputs(shape)
    for _ in range(1 + WARM_UP):
        step(*data)
    wait()
    reset, held, peak = _gpu_memory() if gpus() else _process_memory()
    was_reset, before = reset(), held()
    for _ in range(1 + WARM_UP):
        step(*data)
    wait()
    return peak() - before - logits_bytes(shape), was_reset


def _gpu_memory() -> tuple[Callable, Callable, Callable]:
    def reset():
        tf.config.experimental.reset_memory_stats("GPU:0")
        return True

    def of(key):
        return tf.config.experimental.get_memory_info("GPU:0")[key]

    return reset, lambda: of("current"), lambda: of("peak")


def _process_memory() -> tuple[Callable, Callable, Callable]:
    def reset():
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return False
        return True

    def of(key):
        status = Path("/proc/self/status")  # not there outside Linux: 0, no measurement
        lines = status.read_text().splitlines() if status.exists() else []
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(key))

    return reset, lambda: of("VmRSS:"), lambda: of("VmHWM:")
