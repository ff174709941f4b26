"""What the benchmark runs on."""

import os
import platform
from pathlib import Path

import tensorflow as tf

from tfsegloss.benchmark.measure import gpus
from tfsegloss.core.keras_versions import keras


def describe() -> dict[str, str | int | None]:
    """Return versions and the device, by what they are.

    Example:

    >>> list(describe())
    ['tensorflow', 'keras', 'python', 'device', 'cores']
    """
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
        "device": _device(),
        "cores": _cores(),
    }


def _device() -> str:
    for gpu in gpus():
        return tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cores() -> int | None:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
