"""The folder of a run: config.yaml, samples.json, checkpoints, tensorboard, metrics.jsonl."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import keras
import yaml
from filelock import FileLock, Timeout

from train.common.errors import UserError
from train.common.files import require_no_pattern, write_whole
from train.config import TrainerConfig
from train.loop import checkpoints
from train.loop.evaluation import defined

CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
METRICS = "metrics.jsonl"
SAMPLES = "samples.json"
LOCK = ".lock"
# Keys that say where a run is and what is kept of it.
NOT_OF_THE_TRAINING = {
    "base",
    "data.root",
    "data.verify",
    "trainer.checkpoint_every",
    "trainer.keep_at",
    "trainer.replicas",
    "trainer.seed",
}


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep other processes from training a run; the lock of one that was killed is none.

    Args:
        run: The folder, which is there.

    Raises:
        UserError: Another process trains it.
    """
    try:
        with FileLock(run / LOCK, blocking=False):
            yield
    except Timeout:
        raise UserError(
            f"{run} is being trained by another process: wait for it, or choose another --run"
        ) from None


def create_or_verify(run: Path, config: str, defaults: str = "{}") -> None:
    """Make the folder and write the configuration, or check that it is the folder's.

    Args:
        run: The folder.
        config: The full configuration as YAML.
        defaults: That of a run without any option: what keys mean that an earlier version, which
            began the run, did not have.

    Raises:
        UserError: The folder holds a run of another configuration, or a damaged one; or its name
            is a pattern.
    """
    require_no_pattern(run, "run")
    path = run / CONFIG
    if path.exists():
        require_same(path, config, defaults, "choose another --run, or remove it")
        return
    if (run / METRICS).exists() or checkpoints.steps(run / CHECKPOINTS):
        raise UserError(f"{run} holds a run without {CONFIG}: restore it, or choose another --run")
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
    if path.exists():
        verify_samples(run, splits, "choose another --run")
    else:
        now = {split: fingerprint(names) for split, names in splits.items()}
        write_whole(path, json.dumps(now, indent=1) + "\n")


def verify_samples(run: Path, splits: Mapping[str, Sequence[str]], remedy: str) -> None:
    """Hold samples against those that a run began with.

    Args:
        run: The folder. One of an earlier version may not have noted them.
        splits: Names of the samples of each split.
        remedy: What to do beside restoring them.

    Raises:
        UserError: They are others.
    """
    path = run / SAMPLES
    before = _samples_before(path, splits) if path.exists() else {}
    for split, noted in before.items():
        now = fingerprint(splits[split])
        if noted != now:
            raise UserError(
                f"{run} began with {noted['count']} samples of {split}, now there are "
                f"{now['count']}, or others: restore them, or {remedy}"
            )


def fingerprint(names: Sequence[str]) -> dict[str, object]:
    """Return what tells names from others: "count" and "sha256"."""
    return {"count": len(names), "sha256": sha256("\n".join(names).encode()).hexdigest()}


def _samples_before(path: Path, splits: Iterable[str]) -> dict[str, dict]:
    try:
        before = json.loads(path.read_text())
        return {split: {"count": before[split]["count"], **before[split]} for split in splits}
    except (ValueError, TypeError, KeyError):
        raise UserError(
            f"{path} is damaged: restore it, or remove it, and what is there now is taken for what "
            "the run began with"
        ) from None


def require_same(path: Path, config: str, defaults: str, remedy: str) -> None:
    """Hold a configuration against that of a run.

    Args:
        path: The run's file.
        config: The configuration, as YAML.
        defaults: What keys mean that an earlier version did not have, as YAML.
        remedy: What to do where they differ.

    Raises:
        UserError: They differ in more than the run's folder and what a paper says, or the file is
            damaged.
    """
    before = yaml.safe_load(path.read_text())
    if not isinstance(before, dict):
        raise UserError(f"{path} is empty or damaged: restore it, or {remedy}")
    now = _flat(yaml.safe_load(config))
    changes = differences(_flat(before), now, _flat(yaml.safe_load(defaults)))
    if changes:
        raise UserError(f"{path} is of another run: {changes}; {remedy}")


def different(
    before: Mapping[str, object], now: Mapping[str, object], defaults: Mapping[str, object]
) -> dict[str, tuple[object, object]]:
    """Return which settings are not the same: both values by key.

    Args:
        before: Settings by dotted keys.
        now: Those they are held against.
        defaults: What keys mean that one of them does not have, since it is of an earlier version.
    """
    known = {key: value for key, value in defaults.items() if key in {**before, **now}}
    before, now = {**known, **before}, {**known, **now}
    pairs = {key: (before.get(key), now.get(key)) for key in {**before, **now}}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def differences(
    before: Mapping[str, object], now: Mapping[str, object], defaults: Mapping[str, object]
) -> str:
    """Say which settings have changed, as in `different`; nothing where none has."""
    changed = different(before, now, defaults).items()
    return "; ".join(f"{key}: {was}, now {became}" for key, (was, became) in changed)


def training_settings(config: str) -> dict[str, object]:
    """Return of a configuration what its training follows from, but for the seed.

    Args:
        config: As YAML.

    Returns:
        Values by dotted keys.
    """
    flat = _flat(yaml.safe_load(config))
    return {key: value for key, value in flat.items() if key not in NOT_OF_THE_TRAINING}


def _flat(config: dict, prefix: str = "") -> dict[str, object]:
    """Return a configuration as dotted keys, without where it is and what a paper says of it."""
    flat = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return {k: v for k, v in flat.items() if k != "run" and not k.startswith("paper.")}


def read_metrics(path: Path) -> list[dict]:
    """Return the lines of `metrics.jsonl`, but a last one that a killed process did not finish.

    Raises:
        UserError: A line before it has no step.
    """
    lines = path.read_text().splitlines()
    whole = [line for n, line in enumerate(lines) if math.isfinite(_step(path, n, lines))]
    return [*map(json.loads, whole)]


def best_line(lines: Sequence[dict], best_by: str) -> dict:
    """Return the line of the best score, the first of equal ones.

    Args:
        lines: Of `metrics.jsonl`, at least one.
        best_by: Name of the score; that of the averaged weights, where there are any.
    """

    def score(line: dict) -> float:
        value = line.get(f"val_ema_{best_by}", line[f"val_{best_by}"])
        return -1.0 if value is None else value

    return max(lines, key=score)


class MetricsFile(keras.callbacks.Callback):
    """Appends one JSON object a line to `metrics.jsonl` after each epoch.

    Args:
        path: The file.
        step: Steps taken before; later lines, of steps that are repeated, are dropped.
        best_by: Name of the score that says which line is the best.
        writes: Whether the file is written; else only known, as by all workers but the first.

    Raises:
        UserError: A line has no step but the last, which a killed process may not have finished; or
            there are lines, but no step was taken, or steps but no file.
    """

    def __init__(self, path: Path, step: int, *, best_by: str = "mean_iou", writes: bool = True):
        super().__init__()
        self.path, self._best_by, self._writes = path, best_by, writes
        if step and not path.exists():
            raise UserError(
                f"{path} is missing: {step} steps were taken, and which of them is the best is "
                "written there: bring it back, or choose another folder"
            )
        lines = path.read_text().splitlines() if path.exists() else []
        steps = [_step(path, number, lines) for number in range(len(lines))]
        recorded = max((at for at in steps if math.isfinite(at)), default=0)
        if recorded and not step:
            raise UserError(
                f"{path} has scores up to step {recorded}, but {path.parent / CHECKPOINTS} no "
                "checkpoint: restore one, or choose another --run"
            )
        kept = {at: line for at, line in zip(steps, lines, strict=True) if at <= step}
        # The last step whose scores are on record.
        self.last_step = max(kept, default=0)
        # What the file holds.
        self.lines: list[dict] = [*map(json.loads, kept.values())]
        if writes:
            write_whole(path, "".join(f"{line}\n" for line in kept.values()))

    def best_step(self) -> int | None:
        """Return the step of the best scores; None before the first."""
        return best_line(self.lines, self._best_by)["step"] if self.lines else None

    def evaluations_since_best(self) -> int:
        """Return how many evaluations there were after that of the best scores."""
        lines = self.lines
        return len(lines) - 1 - lines.index(best_line(lines, self._best_by)) if lines else 0

    def is_finished(self, config: TrainerConfig, step: int) -> bool:
        """Return whether the last of the steps taken is scored, and there is none to come.

        Args:
            config: How many steps there are, and with how much patience.
            step: How many are taken.
        """
        all_taken = min(step, self.last_step) >= config.steps
        return all_taken or (step == self.last_step and self.is_patience_over(config))

    def is_patience_over(self, config: TrainerConfig) -> bool:
        """Return whether the scores have not become better for too long."""
        return config.patience is not None and self.evaluations_since_best() >= config.patience

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Append the logs with the step they were taken at."""
        step = int(self.model.optimizer.iterations.numpy())
        line = {"step": step, **{key: defined(float(value)) for key, value in logs.items()}}
        if self._writes:
            self._append(line)
        # A signal may have come before: only what is in the file is on record.
        self.lines.append(line)
        self.last_step = step

    def _append(self, line: dict) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _step(path: Path, number: int, lines: Sequence[str]) -> float:
    """Return the step of a line; infinite where a killed process did not finish it."""
    try:
        return int(json.loads(lines[number])["step"])
    except (ValueError, TypeError, KeyError):
        if number == len(lines) - 1:
            return math.inf
        raise UserError(
            f'{path} line {number + 1}: expected {{"step": N, …}}, got {lines[number]!r}: mend it, '
            "or take it out"
        ) from None
