"""The folder of a run: config.yaml, checkpoints, tensorboard, metrics.jsonl."""

import json
import os
from pathlib import Path

import keras

from train.errors import UserError

CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
METRICS = "metrics.jsonl"


def claim(run: Path, config: str) -> None:
    """Makes the folder and writes the configuration, or checks that it is the one of the folder.

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


def _check_same(path: Path, config: str) -> None:
    before, now = path.read_text().splitlines(), config.splitlines()
    changed = [line.strip() for line in now if line not in before]
    changed += [f"not {line.strip()}" for line in before if line not in now]
    if changed:
        raise UserError(
            f"{path} is of another run: {'; '.join(changed)}; choose another --run to start anew"
        )


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that it is never seen half-written."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text)
    os.replace(unfinished, path)


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
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        write_whole(path, "".join(f"{line}\n" for line in kept))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Appends the logs with the step they were taken at."""
        line = {"step": int(self.model.optimizer.iterations.numpy()), **logs}
        with self.path.open("a") as file:
            file.write(json.dumps({key: _plain(value) for key, value in line.items()}) + "\n")


def _plain(value: object) -> object:
    return value if isinstance(value, (int, dict)) else float(value)
