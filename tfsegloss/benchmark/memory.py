"""What the benchmark measures: the memory that a loss and its gradient take.

Two peaks of the same plain steps, each over the inputs and the gradient:

- with compiling: over what a process holds after steps of Keras' cross-entropy, the first steps of
  the loss and its compiling in it. (On a CPU resident memory: VmHWM less VmRSS. Less Keras' own
  VmHWM it would be 0 for a loss that takes no more than Keras does.)
- steps: over what is held once the first steps are over. What compiling leaves resident is left
  out: 115 MB (cross-entropy) to 360 MB (LAD), for one image of 129² pixels as for two of 513², so
  it is none of the loss' maps, and hides them. A third is TensorFlow's own code, the compiler.

A system that takes idle pages back from a process makes its resident memory fall while it works,
so that a peak over what it held before comes out too small. The measurement notices that, and says
that it is none.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from tfsegloss.benchmark.losses import keras_cross_entropy
from tfsegloss.benchmark.measure import WARM_UP, Shape, gpus, inputs, make_step, wait
from tfsegloss.core.keras_versions import keras

# Blocks of this many bytes and more go back to the system when they are freed (glibc); otherwise
# what compiling leaves on the heap hides what a step takes.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536"}
# Of a peak, or of the logits where they are larger: an error that the table may hold.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Memory:
    """Peaks over the inputs and the gradient as multiples of the logits' size.

    None where there is no measurement; `not_measured` says why.
    """

    steps: float | None
    with_compiling: float | None
    not_measured: str | None = None


@dataclass(frozen=True)
class Peak:
    """Bytes over the inputs and the gradient at a peak, and what the system took back meanwhile."""

    extra: int
    reclaimed: int = 0


class _Meter(NamedTuple):
    """How the memory of this process, or of its GPU, is read; bytes."""

    reset: Callable[[], None]  # forgets the peak
    held: Callable[[], int]
    peak: Callable[[], int]
    evicted: Callable[[], int]  # grows where the system takes idle pages back


def multiples(
    name: str,
    make: Callable[[], keras.losses.Loss],
    shape: Shape,
    progress: Callable[[str], None],
) -> Memory:
    """Measure the memory of a loss, on a CPU in a process of its own.

    Args:
        name: Of the loss on the command line.
        make: The loss.
        shape: (batch, height, width, classes).
        progress: Called with a line now and then.

    Returns:
        The two peaks, or why they could not be measured.
    """
    progress(f"{name}: memory")
    found = _measure(make, shape) if gpus() else _measure_in_a_process(name, shape)
    if found.not_measured:
        progress(f"{name}: memory not measured: {found.not_measured}")
    return found


def as_multiples(steps: Peak, with_compiling: Peak, logits_bytes: int) -> Memory:
    """Return peaks as multiples of the logits' size, or why one of them is no measurement.

    Args:
        steps: Of the steps alone.
        with_compiling: Of the first steps.
        logits_bytes: > 0.

    Returns:
        The multiples.

    Example:

    >>> as_multiples(Peak(30), Peak(50), 20)
    Memory(steps=1.5, with_compiling=2.5, not_measured=None)
    >>> as_multiples(Peak(30), Peak(-1), 20).not_measured
    'with compiling: no peak was seen; the logits are small beside the process'
    """
    peaks = {"steps": steps, "with compiling": with_compiling}
    faults = {name: _fault(peak, logits_bytes) for name, peak in peaks.items()}
    found = [None if faults[name] else peak.extra / logits_bytes for name, peak in peaks.items()]
    reasons = [f"{name}: {fault}" for name, fault in faults.items() if fault]
    return Memory(*found, "; ".join(reasons) or None)


def logits_bytes(shape: Shape) -> int:
    """Return the size of float32 logits, which is that of their gradient."""
    return 4 * math.prod(shape)


def extra_bytes(make: Callable[[], keras.losses.Loss], shape: Shape) -> tuple[Peak, Peak]:
    """Return the peak memory of plain steps over the inputs and the gradient.

    On a CPU that is the whole process' resident memory: call it in a fresh process, with
    `ENVIRONMENT` in its environment.

    Args:
        make: A loss.
        shape: (batch, height, width, classes).

    Returns:
        The peaks of the steps, and with compiling.

    Raises:
        OSError: The system does not let a process forget its peak.
    """
    meter = _gpu_meter() if gpus() else _process_meter()
    data = inputs(shape)

    def run(step):
        before, evicted = meter.held(), meter.evicted()
        meter.reset()
        for _ in range(1 + WARM_UP):
            step(*data)
        wait()
        extra = meter.peak() - before - logits_bytes(shape)
        return Peak(extra, max(0, meter.evicted() - evicted))

    run(make_step(keras_cross_entropy(), None))
    step = make_step(make(), None)
    with_compiling = run(step)
    return run(step), with_compiling


def _measure(make: Callable[[], keras.losses.Loss], shape: Shape) -> Memory:
    return as_multiples(*extra_bytes(make, shape), logits_bytes(shape))


def _measure_in_a_process(name: str, shape: Shape) -> Memory:
    command = [sys.executable, "-m", "tfsegloss.benchmark", "--memory_of", name, "--shape"]
    child = subprocess.run(
        [*command, *map(str, shape)],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
    )
    if child.returncode:
        last = " ".join(child.stderr.strip().splitlines()[-1:])
        return Memory(None, None, f"its process ended with status {child.returncode}. {last}")
    peaks = [Peak(**peak) for peak in json.loads(child.stdout.splitlines()[-1])]
    return as_multiples(*peaks, logits_bytes(shape))


def _fault(peak: Peak, logits_bytes: int) -> str | None:
    """Return why a peak is no measurement; None where it is one."""
    if peak.reclaimed > TOLERANCE * max(peak.extra, logits_bytes):
        return f"the system took {peak.reclaimed / 1e6:.0f} MB of idle pages back meanwhile"
    if peak.extra <= 0:
        return "no peak was seen; the logits are small beside the process"
    return None


def _gpu_meter() -> _Meter:
    def of(key):
        return tf.config.experimental.get_memory_info("GPU:0")[key]

    def reset():
        tf.config.experimental.reset_memory_stats("GPU:0")

    return _Meter(reset, lambda: of("current"), lambda: of("peak"), lambda: 0)


def _process_meter() -> _Meter:
    def of(*keys):
        lines = Path("/proc/self/status").read_text().splitlines()
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(keys))

    def reset():
        Path("/proc/self/clear_refs").write_text("5")

    # Pages without a file go to the swap, those of a file (a library's code) are dropped.
    return _Meter(
        reset,
        lambda: of("VmRSS:"),
        lambda: of("VmHWM:"),
        lambda: of("VmSwap:") - of("RssFile:"),
    )
