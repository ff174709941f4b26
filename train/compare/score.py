"""From a finished run to its results."""

import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tfsegloss.metrics.boundary import boundary_counts
from tfsegloss.metrics.confusion import confusion_matrix
from train.common.errors import UserError
from train.compare.results import RunResults
from train.data.decoding.palette import IGNORED
from train.data.samples.samples import Samples
from train.loop import checkpoints
from train.loop.evaluation import evaluate
from train.runs.folder import CHECKPOINTS, CONFIG, METRICS, MetricsFile, training_settings
from train.runs.load import load_config, load_trained
from train.runs.summary import read_seconds_per_step
from train.runs.train import classifier


def is_finished(run: Path) -> bool:
    """Return whether a run has taken all its steps, and scored them."""
    step = _last_step(run)
    if not step:
        return False
    metrics = MetricsFile(run / METRICS, step, writes=False)
    return metrics.is_finished(load_config(run).trainer, step)


def score(run: Path, name: str, on_image: Callable[[int], None]) -> RunResults:
    """Score the last weights of a finished run on its validation images.

    Args:
        run: Its folder.
        name: What it was a run of.
        on_image: Called with each image's number.

    Raises:
        UserError: The run is not finished, or its data are wrong.
    """
    if not is_finished(run):
        raise UserError(
            f"{run} has taken {_last_step(run)} of its {load_config(run).trainer.steps} steps: "
            "train it to its end first"
        )
    step = _last_step(run)
    config, dataset, model = load_trained(run, step)  # and not, in its place, an older one
    samples = dataset.samples(config.data.val_split, config.data.root)
    names, counts = image_names(samples), {}

    def observe(number: int, _image: np.ndarray, ids: np.ndarray, predicted: np.ndarray) -> None:
        counts[names[number]] = _count(ids, predicted, dataset.num_classes)
        on_image(number)

    evaluate(classifier(model, config.input.resolution), samples, dataset, observe)
    keras.backend.clear_session()
    return RunResults(
        name=name,
        seed=config.trainer.seed,
        step=step,
        seconds_per_step=read_seconds_per_step(run),
        settings=training_settings((run / CONFIG).read_text()),
        class_names=tuple(dataset.class_names),
        counts=counts,
    )


def image_names(samples: Samples) -> list[str]:
    """Return what the images of a split are called wherever it lies: without the folder of all."""
    paths = [samples.image_name(number) for number in range(len(samples))]
    folder = os.path.dirname(os.path.commonprefix(paths))
    return [path[len(folder) :].lstrip("/\\") for path in paths]


def _last_step(run: Path) -> int:
    return max(checkpoints.steps(run / CHECKPOINTS), default=0)


def _count(ids: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the pixels of an image by class, in the order of COUNTS."""
    matrix = confusion_matrix(
        ids[np.newaxis], predicted[np.newaxis], num_classes, ignore_class=IGNORED
    ).numpy()
    edges = boundary_counts(ids, predicted, num_classes, ignore_class=IGNORED).numpy()
    return np.stack([matrix.sum(1), matrix.sum(0), matrix.diagonal(), *edges]).astype(np.int64)
