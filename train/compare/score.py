"""From a finished run to its results."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from tfsegloss.metrics.boundary import boundary_counts
from tfsegloss.metrics.confusion import confusion_matrix
from train.common.errors import UserError
from train.compare.results import RunResults, without_seed
from train.config import FitConfig
from train.data.datasets.registry import find_dataset
from train.data.decoding.images import IMAGE_SUFFIXES
from train.data.decoding.palette import IGNORED
from train.data.samples.samples import Samples
from train.loop import checkpoints
from train.loop.evaluation import evaluate
from train.loop.inference import classifier
from train.runs.data import names_of, split_samples, validation_samples
from train.runs.folder import (
    CHECKPOINTS,
    CONFIG,
    METRICS,
    SAMPLES,
    MetricsFile,
    fingerprint,
    training_settings,
    verify_samples,
)
from train.runs.load import load_config, load_trained
from train.runs.summary import read_origin, read_seconds_per_step


class Data(NamedTuple):
    """What the scores of a run are scores of, wherever it lies.

    Args:
        class_names: Names of the classes.
        images: Names of the validation images.
        training_images: "count" and "sha256" of the names of those that are trained on.
    """

    class_names: tuple[str, ...]
    images: tuple[str, ...]
    training_images: dict[str, object]


def data_of(config: FitConfig) -> Data:
    """Return what a configuration trains and is scored on.

    Raises:
        UserError: There is no such dataset or split.
    """
    options = config.data
    dataset = find_dataset(options.name, options.root, options.unlabelled_as_class)
    return Data(
        tuple(dataset.class_names),
        tuple(image_names(validation_samples(dataset, options))),
        fingerprint(image_names(split_samples(dataset, options, options.train_split))),
    )


def run_name(run: Path) -> str:
    """Return what a run is called in a comparison: its folder's name without the seed."""
    return without_seed(run.resolve().name)


def has_finished(run: Path) -> bool:
    """Return whether a finished run is in a folder, which may not be there."""
    return (run / CONFIG).is_file() and is_finished(run)


def is_finished(run: Path) -> bool:
    """Return whether a run has taken all its steps, and scored them."""
    step = last_step(run)
    if not step:
        return False
    trainer = load_config(run).trainer
    metrics = MetricsFile(run / METRICS, step, best_by=trainer.best_by, writes=False)
    return metrics.is_finished(trainer, step)


def require_scorable(run: Path) -> None:
    """Refuse a run that has not taken all its steps, or whose data are not what they were.

    Raises:
        UserError: So it is, or the folder is none of a run.
    """
    config = load_config(run)
    if not is_finished(run):
        raise UserError(
            f"{run} has taken {last_step(run)} of its {config.trainer.steps} steps: train it to "
            "its end first"
        )
    options = config.data
    dataset = find_dataset(options.name, options.root, options.unlabelled_as_class)
    splits = {"train": options.train_split, "val": options.val_split}
    names = {
        name: names_of(split_samples(dataset, options, split)) for name, split in splits.items()
    }
    renamed = f"if only their folder has another name, remove {run / SAMPLES}"
    verify_samples(run, names, f"train it anew; {renamed}")


def score(run: Path, name: str, on_image: Callable[[int], None]) -> RunResults:
    """Score the last weights of a finished run on its validation images.

    Args:
        run: Its folder, which `require_scorable` has passed.
        name: What it was a run of.
        on_image: Called with each image's number.

    Raises:
        UserError: Its data are wrong.
    """
    step = last_step(run)
    config, dataset, model = load_trained(run, step)  # and not, in its place, an older one
    data, counts = data_of(config), {}
    samples = validation_samples(dataset, config.data)

    def observe(number: int, _image: np.ndarray, ids: np.ndarray, predicted: np.ndarray) -> None:
        counts[data.images[number]] = _count(ids, predicted, dataset.num_classes)
        on_image(number)

    evaluate(classifier(model, config.input.resolution), samples, dataset, observe)
    keras.backend.clear_session()
    return RunResults(
        name=name,
        seed=config.trainer.seed,
        step=step,
        seconds_per_step=read_seconds_per_step(run),
        settings=training_settings((run / CONFIG).read_text()),
        origin=read_origin(run),
        training_images=data.training_images,
        class_names=data.class_names,
        counts=counts,
    )


def image_names(samples: Samples) -> list[str]:
    """Return what the images of a split are called wherever it lies.

    Without the folder of all, and without the suffix: some keep the same images as JPEG, some as
    PNG.
    """
    paths = names_of(samples)
    folder = os.path.dirname(os.path.commonprefix(paths))
    names = [path[len(folder) :].lstrip("/\\") for path in paths]
    bare = [*map(_without_suffix, names)]
    return bare if len({*bare}) == len({*names}) else names


def last_step(run: Path) -> int:
    """Return the step of a run's last checkpoint; 0: there is none."""
    return max(checkpoints.steps(run / CHECKPOINTS), default=0)


def _without_suffix(name: str) -> str:
    """Return a name without the suffix of images; what is after another dot is of the name."""
    bare, suffix = os.path.splitext(name)
    return bare if suffix.lower() in IMAGE_SUFFIXES else name


def _count(ids: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the pixels of an image by class, in the order of COUNTS."""
    matrix = confusion_matrix(
        ids[np.newaxis], predicted[np.newaxis], num_classes, ignore_class=IGNORED
    ).numpy()
    edges = boundary_counts(ids, predicted, num_classes, ignore_class=IGNORED).numpy()
    return np.stack([matrix.sum(1), matrix.sum(0), matrix.diagonal(), *edges]).astype(np.int64)
