"""What a run's folder holds, as the objects it was made from."""

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
from train.runs.build import build_model
from train.runs.configuration import configuration_parser, instantiate
from train.runs.folder import CHECKPOINTS, CONFIG
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


def load_trained(run: Path) -> tuple[FitConfig, Dataset, keras.Model]:
    """Load a run's configuration, dataset, and network with the weights of its last checkpoint.

    Raises:
        UserError: The folder is none of a run, or holds no checkpoint.
    """
    config = load_config(run)
    dataset = find_dataset(config.data.name, config.data.root)
    # The checkpoint holds all weights: those the network started from are not needed.
    config = replace(config, model=replace(config.model, weights=None))
    model = build_model(config, dataset)
    _restore(run, tf.train.Checkpoint(model=model))
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
    _restore(run, tf.train.Checkpoint(shares=sampling_weights.variables))
    sampling_weights.refresh()
    return sampling_weights


def _restore(run: Path, checkpoint: tf.train.Checkpoint) -> None:
    """Restore a part of a run's last checkpoint that is whole.

    Raises:
        UserError: There is none.
    """

    def restore(path: str) -> None:
        checkpoint.read(path).assert_existing_objects_matched().expect_partial()

    if checkpoints.restore_newest(run / CHECKPOINTS, restore) is None:
        raise UserError(f"{run} holds no checkpoint yet: no step was saved in {run / CHECKPOINTS}")
