"""Weights of DeepLab's published checkpoints for the networks of this package."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.checks import shorten
from models.weights.assignment import Report, check_shapes, set_values
from models.weights.slim_names import LIKE_HEAD, SCOPES, Head, Target, Targets, slim_variables

# Architectures that a checkpoint can be imported into.
ARCHITECTURES = ("deeplab_v3", "deeplab_v3_plus")

# Counters of the training, which are no weights.
_COUNTERS = ("global_step", "beta1_power", "beta2_power")

# The classifier of ImageNet's 1000 or 1001 classes; a backbone's scope stands before these names.
_CLASSIFIER = ("logits/weights", "logits/biases")

# Exceptions raised by an invalid or truncated checkpoint.
_UNREADABLE = (tf.errors.OpError, RuntimeError, LookupError, ValueError)


def import_checkpoint(model: keras.Model, reader: Any, *, partial: bool = False) -> Report:
    """Set a network's weights from a checkpoint of DeepLab's own code.

    Nothing is set unless everything fits.

    Args:
        model: One of `ARCHITECTURES` of `models.build` on one of `slim_names.SCOPES`.
        reader: What `open_checkpoint` returns.
        partial: Whether all weights behind the backbone, or those of the logits, may keep their
            values because the checkpoint lacks some, as one of ImageNet does, and it may hold
            others.

    Returns:
        The names of all variables, by what became of them.

    Raises:
        ValueError: if the checkpoint is of another network, if a variable has another shape than
            its weight, if one of the backbone is missing, if one behind it is missing or without a
            place and `partial` is False, or if only a part of a head would be used.

    Example:
        >>> model = models.build(
        ...     "deeplab_v3_plus", backbone="xception_65", num_classes=21)  # doctest: +SKIP
        >>> reader = open_checkpoint("deeplabv3_pascal_trainval/model.ckpt")  # doctest: +SKIP
        >>> import_checkpoint(model, reader)  # doctest: +SKIP
        Report(used=('aspp0/BatchNorm/beta', ...), unused=(), missing=(), ignored=('global_step',))

    Reference:
        The names are those of github.com/tensorflow/models, research/deeplab, see `slim_names`.
    """
    shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    backbone = _backbone_of(model)
    scope = _scope(backbone, shapes)
    in_backbone = slim_variables(backbone, "backbone", scope=scope)
    targets = {**in_backbone, **slim_variables(backbone, "head", head=_head_of(model))}
    weights = {name: _weight(model, target) for name, target in targets.items()}
    expected = {name: tuple(weight.shape) for name, weight in weights.items()}
    check_shapes(expected, shapes, model.output_shape[-1])
    report = _sort_variables(targets, shapes, scope)
    report.check(in_backbone, like_head=LIKE_HEAD, partial=partial)
    report = report.of_a_part(model, weights)
    values = {name: _read(reader, name) for name in report.used}
    set_values({name: weights[name] for name in report.used}, values)
    return report


def open_checkpoint(checkpoint: str | os.PathLike[str]) -> Any:
    """Open a checkpoint.

    Args:
        checkpoint: One of TensorFlow 1's `Saver`, in either of its formats: the prefix
            ("model.ckpt"), or a folder in which there is one.

    Returns:
        What `tf.train.load_checkpoint` returns.

    Raises:
        ValueError: There is none that can be read, or a variable's name cannot be printed.
    """
    try:
        reader = tf.train.load_checkpoint(_prefix(Path(checkpoint)))
        for name in reader.get_variable_to_shape_map():
            if not name.isprintable():
                raise ValueError(f"the names must be printable, not {name!r}")
        return reader
    except _UNREADABLE as error:
        raise ValueError(
            "`checkpoint` must be a checkpoint of TensorFlow that can be read. "
            f"Received: checkpoint={str(checkpoint)!r} ({_first_line(error)})"
        ) from error


def _read(reader: Any, name: str) -> np.ndarray:
    try:
        return reader.get_tensor(name)
    except _UNREADABLE as error:
        raise ValueError(
            f"`checkpoint` must hold the values of {name}. Received: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _prefix(path: Path) -> str:
    """Return the prefix of a checkpoint, given that, one of its files or its folder."""
    if not path.is_dir():
        stem, data, _ = path.name.partition(".data-")
        return str(path.with_name(stem) if data else path).removesuffix(".index")
    # Published archives have no file "checkpoint", or one that names a path of another machine.
    latest = tf.train.latest_checkpoint(path) if (path / "checkpoint").is_file() else None
    if latest is not None:
        return latest
    found = sorted(path.glob("*.index"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ValueError(
            "`checkpoint` must be the prefix of a checkpoint, or a folder with one of them. "
            f"Received: checkpoint={str(path)!r}, in it {names}"
        )
    return str(found[0]).removesuffix(".index")


def _backbone_of(model: keras.Model) -> str:
    """Recognize the backbone by its layers: the names of models may have been changed."""
    if {"backbone", "aspp_project_conv", "logits"} <= _layer_names(model):
        layers = _layer_names(model.get_layer("backbone"))
        for backbone in SCOPES:
            targets = slim_variables(backbone, "backbone").values()
            if {target.layer for target in targets} <= layers:
                return backbone
    raise ValueError(
        f"`model` must be one of {ARCHITECTURES} of `models.build` on one of {tuple(SCOPES)}. "
        f"Received: a model named {model.name!r}"
    )


def _layer_names(model: keras.Model) -> set[str]:
    return {layer.name for layer in model.layers}


def _head_of(model: keras.Model) -> Head:
    layers = _layer_names(model)
    branches = {name.split("_")[1] for name in layers if name.startswith("aspp_branch")}
    return Head(
        num_classes=model.get_layer("logits").filters,
        channels=model.get_layer("aspp_project_conv").filters,
        branches=len(branches),
        separable=bool({"aspp_branch1_depthwise", "decoder_1_depthwise"} & layers),
        decoder="decoder_low_conv" in layers,
    )


def _scope(backbone: str, names: Iterable[str]) -> str:
    for scope in SCOPES[backbone]:
        if any(name.startswith(f"{scope}/") for name in names):
            return scope
    expected = " or ".join(f'"{scope}/"' for scope in SCOPES[backbone])
    raise ValueError(
        f"`checkpoint` must hold variables of {backbone}, whose names begin with {expected}. "
        f"Received: {shorten(sorted(names))}"
    )


def _weight(model: keras.Model, target: Target) -> keras.Variable:
    backbone = model.get_layer("backbone")
    owner = backbone if target.layer in _layer_names(backbone) else model
    return getattr(owner.get_layer(target.layer), target.weight)


def _sort_variables(targets: Targets, names: Iterable[str], scope: str) -> Report:
    """Sort all variables, present and missing, by what becomes of them."""
    names = set(names)
    classifier = {f"{scope}/{name}" for name in _CLASSIFIER}
    known = names | classifier | targets.keys()
    others = names - targets.keys()
    ignored = {
        name
        for name in others
        if name in _COUNTERS or name in classifier or _belongs_to_another(name, known)
    }
    return Report(
        used=tuple(name for name in targets if name in names),
        unused=tuple(sorted(others - ignored)),
        missing=tuple(name for name in targets if name not in names),
        ignored=tuple(sorted(ignored)),
    )


def _belongs_to_another(name: str, known: set[str]) -> bool:
    """Return whether the name is that of a variable and a suffix: optimizers name slots so."""
    parts = name.split("/")
    return any("/".join(parts[:i]) in known for i in range(1, len(parts)))
