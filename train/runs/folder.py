"""The folder of a run: config.yaml, samples.json, checkpoints, tensorboard, metrics.jsonl."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import keras
import yaml

from train.common.errors import UserError
from train.common.files import write_whole
from train.loop.evaluation import defined

CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
METRICS = "metrics.jsonl"
SAMPLES = "samples.json"


def create_or_verify(run: Path, config: str) -> None:
    """Make the folder and write the configuration, or check that it is the folder's.

    Args:
        run: The folder.
        config: The full configuration as YAML.

    Raises:
        UserError: The folder holds a run of another configuration.
    """
    path = run / CONFIG
    if path.exists():
        _check_same(path, config)
        return
    run.mkdir(parents=True, exist_ok=True)
    write_whole(path, config)


def create_or_verify_samples(run: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Note which samples the run reads, or check that they are those it began with.

    Args:
        run: The folder.
        splits: Names of the samples of each split.

    Raises:
        UserError: They are others: from here on the run would read what it had not read.
    """
    path = run / SAMPLES
    now = {
        split: {"count": len(names), "sha256": sha256("\n".join(names).encode()).hexdigest()}
        for split, names in splits.items()
    }
    if not path.exists():
        write_whole(path, json.dumps(now, indent=1) + "\n")
        return
    before = json.loads(path.read_text())
    for split in splits:
        if before.get(split) != now[split]:
            raise UserError(
                f"{run} began with {before[split]['count']} samples of {split}, now there are "
                f"{now[split]['count']}, or others: restore them, or choose another --run"
            )


def _check_same(path: Path, config: str) -> None:
    before, now = _flat(yaml.safe_load(path.read_text())), _flat(yaml.safe_load(config))
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if changed:
        raise UserError(
            f"{path} is of another run: "
            + "; ".join(f"{key}: {before.get(key)}, now {now.get(key)}" for key in changed)
            + "; choose another --run, or remove it"
        )


def _flat(config: dict, prefix: str = "") -> dict[str, object]:
    """Return a configuration as dotted keys, without where it is."""
    flat = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return {key: value for key, value in flat.items() if key != "run"}


class MetricsFile(keras.callbacks.Callback):
    """Appends one JSON object a line to `metrics.jsonl` after each epoch.

    Args:
        path: The file.
        step: Steps taken before; later lines, of steps that are repeated, are dropped.
    """

    def __init__(self, path: Path, step: int):
        super().__init__()
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if _step(line) <= step]
        write_whole(path, "".join(f"{line}\n" for line in kept))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Append the logs with the step they were taken at."""
        step = int(self.model.optimizer.iterations.numpy())
        values = {key: defined(float(value)) for key, value in logs.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


def _step(line: str) -> float:
    """Return the step of a line; infinite where a killed process did not finish it."""
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return float("inf")
