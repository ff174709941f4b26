"""What a run shows while it trains: a bar or plain lines, and its end."""

import datetime
import math
import time
from collections.abc import Sequence

import keras
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from train.config import FitConfig
from train.loop.evaluation import METRICS
from train.loop.optimization import Group
from train.loop.trainer import Trainer
from train.runs.data import RunData
from train.runs.folder import best_line

SECONDS_PER_LINE = 5


class ProgressReport(keras.callbacks.Callback):
    """A bar of the steps on a terminal, elsewhere a line every few seconds; a line for each score.

    Args:
        steps: Of the whole run.
        step: Steps taken before.
        images: How many an evaluation scores.
        batch_size: Images in a step.
    """

    def __init__(self, steps: int, step: int, images: int, batch_size: int):
        super().__init__()
        self.steps, self.step, self.images, self.batch_size = steps, step, images, batch_size
        # The first step is compiled: it says nothing of the others' speed.
        self._first, self._began = step + 1, 0.0
        self._speed: float | None = None  # of the last epoch that had one, steps/s
        # What is left takes its time with evaluations and checkpoints.
        self._first_of_all, self._began_at_all = step + 1, 0.0
        self._last_line = -math.inf
        console = Console()
        columns = ("{task.description}", "{task.completed}/{task.total}", "{task.fields[what]}")
        texts = [TextColumn(column) for column in columns]
        self._bars = Progress(
            texts[0],
            BarColumn(),
            *texts[1:],
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._is_terminal = console.is_terminal
        self._training = self._bars.add_task("step", total=steps, completed=step, what="")
        self._scoring = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Show the bar."""
        self._bars.start()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move the bar, or print a line if the last one is some seconds old."""
        self.step += 1
        what = f"loss {logs['loss']:.4f}"
        now = time.monotonic()
        if self.step <= self._first:
            self._began = now
        else:
            self._speed = (self.step - self._first) / max(now - self._began, 1e-9)
            what += f", {self.images_per_second:.3g} images/s"
        self._bars.update(self._training, completed=self.step, what=what)
        if self.step <= self._first_of_all:
            self._began_at_all = now
        else:
            done = self.step - self._first_of_all
            left = (now - self._began_at_all) / done * (self.steps - self.step)
            what += f", {datetime.timedelta(seconds=round(left))} left"
        self._line(f"step {self.step}/{self.steps}: {what}")

    @property
    def images_per_second(self) -> float | None:
        """The speed of the steps, evaluations not counted; None before it is known."""
        return None if self._speed is None else self._speed * self.batch_size

    @property
    def seconds_per_step(self) -> float | None:
        """How long a step takes, evaluations not counted; None before it is known."""
        return None if self._speed is None else 1 / self._speed

    def on_image_scored(self, number: int) -> None:
        """Move the bar of the evaluation."""
        if self._scoring is None:
            self._scoring = self._bars.add_task("scoring", total=self.images, what="")
        self._bars.update(self._scoring, completed=number + 1)
        self._line(f"scoring: image {number + 1}/{self.images}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Print the loss and the scores."""
        if self._scoring is not None:
            self._bars.remove_task(self._scoring)
            self._scoring = None
        self._bars.console.print(
            f"step {self.step}/{self.steps}: loss {logs['loss']:.4f}, {_scores(logs)}",
            highlight=False,
            soft_wrap=True,
        )
        # The speed is that of steps: evaluations do not count.
        self._first, self._began = self.step, time.monotonic()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Take the bar away."""
        self._bars.stop()

    def _line(self, text: str) -> None:
        now = time.monotonic()
        if not self._is_terminal and now - self._last_line >= SECONDS_PER_LINE:
            print(text, flush=True)
            self._last_line = now


def print_groups(groups: Sequence[Group], config: FitConfig) -> None:
    """Print what reaches which weights, as a table.

    Args:
        groups: Of the network's weights.
        config: Of the run.
    """
    decay, l2 = config.optimizer.keywords.get("weight_decay"), config.regularization.l2
    decays = {"l2": l2, "weight_decay": decay}
    by_name = ", ".join(f"{name} {value:g}" for name, value in decays.items() if value)
    table = Table("learning rate", "decay", "weights", "numbers", box=None)
    for group in sorted(groups, key=lambda group: (group.multiplier, not group.is_decayed)):
        paths = [v.path for v in group.variables]
        table.add_row(
            f"× {group.multiplier:g}" if group.multiplier else "frozen",
            (by_name if group.is_decayed and group.multiplier else "") or "none",
            f"{len(paths)}, such as {paths[0]}, {paths[-1]}" if len(paths) > 1 else paths[0],
            f"{sum(math.prod(v.shape) for v in group.variables):,}",
        )
    Console(soft_wrap=True, highlight=False).print(table)


def print_end(config: FitConfig, lines: list[dict]) -> None:
    """Print the best and the last scores, and the commands that come next.

    Args:
        config: Of the run.
        lines: What `metrics.jsonl` holds.
    """
    run, best = config.run, best_line(lines, config.trainer.best_by)
    if best is not lines[-1]:
        print(f"Best:  step {best['step']}: {_scores(best)} (export it by --best)")
    print(f"Last:  step {lines[-1]['step']}: {_scores(lines[-1])}")
    model = f"savedmodels/{run.name}"
    print(f"Run:   {run}")
    print("Next:")
    print(f"  python -m savedmodels export {run} --output {model}")
    print(f"  python -m savedmodels evaluate {model} --output {run}/report")
    print(f"  python -m savedmodels predict {model} IMAGES --output {run}/predictions")


def _scores(logs: dict) -> str:
    def scores(prefix: str) -> str:
        values = {metric.label: logs[f"{prefix}{name}"] for name, metric in METRICS.items()}
        return ", ".join(
            f"{label} {'not defined' if value is None else f'{100 * value:.2f} %'}"
            for label, value in values.items()
        )

    averaged = any(name.startswith("val_ema_") for name in logs)
    return scores("val_") + (f"; averaged weights: {scores('val_ema_')}" if averaged else "")


def print_start(trainer: Trainer, config: FitConfig, data: RunData, *, resuming: bool) -> None:
    """Print what a run trains on, where it goes on, and what of its data may be a mistake."""
    devices, workers = trainer.strategy.num_replicas_in_sync, trainer.worker.count
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    of = f" of {workers} workers" if workers > 1 else ""
    print(f"Training {config.run} on {devices} {kind}{'s' if devices > 1 else ''}{of}")
    if resuming:
        print(f"Resuming {config.run} at step {trainer.step} of {config.trainer.steps}")
    if data.faults:
        print(f"Skipping {len(data.faults)} samples that are wrong; they are listed at the end")
    train, val = (set(names) for names in data.sample_names.values())
    if train & val:
        print(f"Of the {len(val)} images that are scored, {len(train & val)} are trained on")
    if data.turned:
        print(
            f"The EXIF orientation of {len(data.turned)} images is not applied, such as that of "
            f"{data.turned[0]}: `train check` names them"
        )
