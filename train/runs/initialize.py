"""The first weights of a run: those of another run, of an export, or of a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import models
from train.common.errors import UserError
from train.config import FitConfig
from train.data.datasets.dataset import Dataset
from train.loop import checkpoints
from train.runs.build import build_model
from train.runs.folder import CHECKPOINTS
from train.runs.load import load_trained

_EXPECTED = (
    "expected the folder of a run or of an export, or a file of weights that ends in one of "
    f"{', '.join(models.WEIGHT_FILES)}"
)


class _Source(NamedTuple):
    """Weights of another network.

    Attributes:
        weights: In the order of the network's own.
        name: What they are, for the line that is printed.
        network: Of what kind, for the error.
        classes: Whose the classes are; None: only their number is known.
        differs: Whether it is another network whatever the shapes: some backbones share them.
    """

    weights: list[np.ndarray]
    name: str
    network: str
    classes: str | None = None
    differs: bool = False


def initialize_from(model: keras.Model, config: FitConfig, dataset: Dataset) -> None:
    """Give a network the weights that `init_from` names, and say which.

    They are those of a run's last checkpoint, or their averages; of an exported SavedModel; or of
    a file of weights. A weight of another size is one that knows the number of classes: it stays
    new.

    Args:
        model: The network.
        config: Of its run.
        dataset: Of its run.

    Raises:
        UserError: There is nothing like that, or it is of another network; nothing is changed.
    """
    path = config.init_from
    if not path.exists():
        raise UserError(f"init_from: there is no {path}: {_EXPECTED}")
    with _naming(path):
        source = _read_source(path, model, config, dataset)
    pairs = [*zip(model.weights, source.weights, strict=False)]
    shapes = [(tuple(ours.shape), theirs.shape) for ours, theirs in pairs]
    classes = models.class_count_by_pairs(shapes, model.output_shape[-1])
    if len(model.weights) != len(source.weights) or classes is None or source.differs:
        raise UserError(
            f"init_from: the network of {path} is another one, {source.network}: choose the same "
            "model.name, backbone and options"
        )
    for ours, theirs in pairs:
        if ours.shape == theirs.shape:
            ours.assign(theirs)
    others = [ours.path for ours, theirs in pairs if ours.shape != theirs.shape]
    whose = source.classes or f"its {classes}"
    new = f"; new, for other classes than {whose}: {', '.join(others)}" if others else ""
    print(f"First weights: {len(pairs) - len(others)} of {source.name}{new}")


def print_what_is_new(model: keras.Model, config: FitConfig) -> None:
    """Say which weights of a network are those of the file `model.weights`, and which are drawn."""
    part = models.stored_part(config.model.weights, model)
    held = len(part.network.weights)
    more = len(model.weights) - held
    new = f"; new, drawn with trainer.seed {config.trainer.seed}: the other {more}" if more else ""
    print(f"First weights: {held} of {config.model.weights}, {part.name}{new}")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let errors begin with the option and its path, where they do not name it themselves."""
    try:
        yield
    except UserError as error:
        named = str(error).startswith(str(path))
        raise UserError(f"init_from: {error}" if named else f"init_from: {path}: {error}") from None


def _read_source(path: Path, model: keras.Model, config: FitConfig, dataset: Dataset) -> _Source:
    if path.is_dir():
        exported = tf.saved_model.contains_saved_model(str(path))
        return _from_export(path, model) if exported else _from_run(path, config)
    if path.name.endswith(models.WEIGHT_FILES):
        return _from_file(path, model, config, dataset)
    raise UserError(f"{path}: {_EXPECTED}")


def _from_run(run: Path, later: FitConfig) -> _Source:
    config, dataset, trained = load_trained(run)
    before, now = dict(config.model.options), dict(later.model.options)
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):  # rates of convolutions have no weights
            print(f"model.options.{key} was {before.get(key)} in {run}, now {now.get(key)}")
    step, steps = max(checkpoints.steps(run / CHECKPOINTS)), config.trainer.steps
    averages = "" if config.trainer.ema_momentum is None else "the averages of "
    return _Source(
        trained.get_weights(),
        f"{averages}{run} at step {step} of {steps}{'' if step == steps else ', not its last one'}",
        f"{config.model.name} on {config.model.backbone}",
        f"{dataset.name}'s",
        (config.model.name, config.model.backbone) != (later.model.name, later.model.backbone),
    )


def _from_file(path: Path, model: keras.Model, config: FitConfig, dataset: Dataset) -> _Source:
    try:
        num_classes = models.stored_classes(path, model)
    except ValueError as error:
        raise UserError(str(error)) from None
    # Keras finds the weights in such a file by the layers of a network of its kind.
    kind = replace(config.model, weights=str(path))
    trained = build_model(replace(config, model=kind), dataset, num_classes)
    return _Source(trained.get_weights(), str(path), "of other layers")


def _from_export(folder: Path, model: keras.Model) -> _Source:
    try:
        variables = tf.saved_model.load(str(folder)).variables
    # Damage is found by whatever reads the part first, each with errors of its own.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{folder} is no whole export ({reason})") from None
    # They are in the order of the network's, among them states of random numbers, no weights.
    weights = {id(weight) for weight in model.weights}
    are_weights = [id(variable) in weights for variable in model.variables]
    if len(variables) == len(are_weights):
        variables = [x for x, chosen in zip(variables, are_weights, strict=True) if chosen]
    others = models.other_layers(model, models.layers_of(x.name for x in variables))
    values = [variable.numpy() for variable in variables]
    return _Source(values, str(folder), "of other layers", differs=bool(others))
