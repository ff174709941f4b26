"""What a run's folder holds, as the objects it was made from."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import tensorflow as tf
from jsonargparse import ArgumentError

from train.common.errors import UserError
from train.config import FitConfig
from train.data.datasets.dataset import Dataset
from train.data.datasets.registry import find_dataset
from train.data.input.sampling import ComplementaryWeights
from train.loop import checkpoints
from train.loop.averaging import averaged_variables
from train.runs.build import build_model
from train.runs.configuration import configuration_parser, instantiate
from train.runs.folder import CHECKPOINTS, CONFIG, METRICS, best_line, read_metrics
from train.runs.mistakes import explain_mistake


def load_config(run: Path) -> FitConfig:
    """Load the configuration of a run.

    Raises:
        UserError: The folder is none of a run.
    """
    path = run / CONFIG
    if not path.is_file():
        raise UserError(f"{run} is no run: no file {path}")
    if not path.read_bytes().strip():
        raise UserError(f"{path} is empty: restore it, the configuration of the run")
    try:
        return instantiate(configuration_parser().parse_path(path))
    except ArgumentError as error:
        raise UserError(f"{path}: {explain_mistake(str(error))}") from None


def load_trained(
    run: Path, step: int | None = None, *, raw: bool = False
) -> tuple[FitConfig, Dataset, keras.Model]:
    """Load a run's configuration, dataset, and network with the weights of a checkpoint.

    The network computes in float32, whatever it was trained in. Its weights are the moving averages
    where the run has them.

    Args:
        run: Its folder.
        step: Of the checkpoint; None: the last one.
        raw: Whether the weights are taken, not their averages.

    Raises:
        UserError: The folder is none of a run, or holds no such checkpoint.
    """
    config = load_config(run)
    dataset = find_dataset(config.data.name, config.data.root, config.data.unlabelled_as_class)
    # The checkpoint holds all weights: those the network started from are not needed.
    config = replace(config, model=replace(config.model, weights=None))
    trainer = replace(config.trainer, precision="float32")
    model = build_model(replace(config, trainer=trainer), dataset)
    parts = [tf.train.Checkpoint(model=model)]
    if config.trainer.ema_momentum is not None and not raw:
        averages = [v.value for v in averaged_variables(model)]
        parts.append(tf.train.Checkpoint(averages=averages))
    _restore(run, parts, step)
    return config, dataset, model


def load_sampling_weights(run: Path, num_classes: int) -> ComplementaryWeights:
    """Load the weights by which the classes are drawn after a run's last checkpoint.

    Args:
        run: Folder of a run whose sampling is complementary.
        num_classes: Number of classes of its dataset.

    Raises:
        UserError: The run has no checkpoint.
    """
    sampling_weights = ComplementaryWeights(num_classes)
    _restore(run, [tf.train.Checkpoint(shares=sampling_weights.variables)])
    sampling_weights.refresh()
    return sampling_weights


def best_step(run: Path) -> int:
    """Return the step of a run's best scores.

    Raises:
        UserError: There are none yet.
    """
    path = run / METRICS
    lines = read_metrics(path) if path.is_file() else []
    if not lines:
        raise UserError(f"{run} has no scores yet: nothing is the best in {path}")
    return best_line(lines, load_config(run).trainer.best_by)["step"]


def _restore(run: Path, parts: Sequence[tf.train.Checkpoint], step: int | None = None) -> None:
    """Restore parts of a run's checkpoint, of a step or the last one that is whole.

    Raises:
        UserError: There is none.
    """

    def restore(path: str) -> None:
        for part in parts:
            part.read(path).assert_existing_objects_matched().expect_partial()

    folder = run / CHECKPOINTS
    kept = checkpoints.steps(folder)
    if step is not None and step not in kept:
        raise UserError(
            f"{run} holds no checkpoint of step {step}: those kept are of "
            f"{', '.join(map(str, kept)) or 'no step'}"
        )
    if checkpoints.restore_newest(folder, restore, step) is None:
        raise UserError(f"{run} holds no checkpoint yet: no step was saved in {run / CHECKPOINTS}")
