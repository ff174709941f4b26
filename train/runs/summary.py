"""What made a run: versions, commands, revision of the code, counts of the data."""

import datetime
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfsegloss
from train.common.files import write_whole

FILE = "summary.json"
CODE = Path(__file__).parents[2]


def write_summary(
    run: Path, *, seed: int, step: int, replicas: int, samples: Mapping[str, int]
) -> None:
    """Write `summary.json` into a run's folder, or add another start to it.

    Args:
        run: The folder.
        seed: Of the run.
        step: Steps taken before.
        replicas: Devices that train.
        samples: Number of samples by split.
    """
    path = run / FILE
    start = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "step": step,
        "command": shlex.join(["python", "-m", "train", *sys.argv[1:]]),
        "replicas": replicas,
        "revision": _revision(),
        "versions": {
            "tfsegloss": tfsegloss.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    summary = {"seed": seed, "samples": {**samples}, "starts": [*_starts(path), start]}
    write_whole(path, json.dumps(summary, indent=1) + "\n")


def write_seconds_per_step(run: Path, seconds: float | None) -> None:
    """Note in `summary.json` how long a step took after the last evaluation; None: none did."""
    path = run / FILE
    summary = json.loads(path.read_text())
    summary["starts"][-1]["seconds_per_step"] = seconds
    write_whole(path, json.dumps(summary, indent=1) + "\n")


def read_seconds_per_step(run: Path) -> float | None:
    """Return how long a step took when it was last known; None: never."""
    known = [start.get("seconds_per_step") for start in _starts(run / FILE)]
    return next((seconds for seconds in reversed(known) if seconds), None)


def read_origin(run: Path) -> dict[str, object]:
    """Return what made a run: when it began, and revisions and versions of the code.

    Returns:
        `{}` where the summary is missing or damaged.
    """
    starts = _starts(run / FILE)
    try:
        return {
            "time": starts[0]["time"],
            "revisions": [*dict.fromkeys(start["revision"] for start in starts)],
            "versions": starts[-1]["versions"],
        }
    except (IndexError, KeyError, TypeError):
        return {}


def _starts(path: Path) -> list[dict]:
    """Return the starts before this one; a damaged file has none."""
    try:
        return list(json.loads(path.read_text())["starts"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _revision() -> str | None:
    """Return git's name of the code, with "+" where files have been changed; None without git."""
    try:
        name, changes = (
            subprocess.run(
                ["git", "-C", str(CODE), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return name + "+" * bool(changes)
