"""What became of the variables of a file, and setting weights where everything fits."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import NamedTuple

import keras
import numpy as np

from models.checks import shorten

# From the order of Caffe and PyTorch (output, input, height, width) to Keras'.
CHANNELS_LAST = (2, 3, 1, 0)


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of the variables of a checkpoint, and of the weights of a network.

    Attributes:
        used: Variables that weights were set from.
        unused: Variables the network has no place for.
        missing: Variables the network has a place for and the checkpoint lacks: the weights stay.
        ignored: Variables that are no weights of a segmentation network: the step, what the
            optimizer kept of each weight, running averages, ImageNet's classifier.
    """

    used: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    ignored: tuple[str, ...]

    def __str__(self) -> str:
        """One line of counts."""
        return ", ".join(f"{len(names)} {kind}" for kind, names in dataclasses.asdict(self).items())

    def check(self, *, partial: bool) -> None:
        """Raise ValueError if variables are missing, unless they may be and others are there."""
        if self.missing and not (partial and self.used):
            raise ValueError(
                "`checkpoint` must hold every variable of the network unless `partial` is True. "
                f"Received: {self}; missing: {shorten(self.missing)}; "
                f"unused: {shorten(self.unused)}"
            )


class Place(NamedTuple):
    """Where an array of a file goes.

    Attributes:
        weight: Of the network.
        axes: Of the array, in the weight's order.
    """

    weight: keras.Variable
    axes: tuple[int, ...]


def backbone_of(model: keras.Model, name: str, layer: str) -> keras.Model:
    """Return the backbone of a network.

    Args:
        model: The network; the names of models may have been changed.
        name: Of the backbone that is asked for.
        layer: Of that backbone, and of no other.

    Raises:
        ValueError: It has another backbone.
    """
    if _has_layer(model, "backbone") and _has_layer(model.get_layer("backbone"), layer):
        return model.get_layer("backbone")
    raise ValueError(
        f"`model` must be a network of `models.build` on {name}. "
        f"Received: a model named {model.name!r}"
    )


def _has_layer(model: keras.Model, name: str) -> bool:
    return any(layer.name == name for layer in model.layers)


def places_behind(model: keras.Model) -> dict[str, Place]:
    """Return the places of all weights behind the backbone by our names, "layer/weight".

    The kernel of a learnt upsampling is left out: it begins as what the files' networks have.
    """
    return {
        f"{layer.name}/{weight.name}": place_of(weight)
        for layer in model.layers
        if layer.name not in ("backbone", "logits_deconvolution")
        for weight in layer.weights
    }


def place_of(weight: keras.Variable) -> Place:
    """Return the place of a kernel or a vector of Caffe or PyTorch."""
    return Place(weight, CHANNELS_LAST if len(weight.shape) == 4 else (0,))


def assign_arrays(
    places: Mapping[str, Place],
    arrays: Mapping[str, np.ndarray],
    *,
    ignored: Collection[str],
    partial: bool,
) -> Report:
    """Set weights from arrays of the same names; none unless everything fits.

    Args:
        places: Of all weights that a file may hold, by the names there.
        arrays: Of the file.
        ignored: Names of arrays that are no weights of a segmentation network.
        partial: Whether weights may stay because the file lacks them.

    Returns:
        The names of all arrays, by what became of them.

    Raises:
        ValueError: An array has another shape, or is missing.
    """
    wrong = []
    for name, (weight, axes) in places.items():
        expected = tuple(weight.shape[axis] for axis in np.argsort(axes))
        if name in arrays and arrays[name].shape != expected:
            wrong.append(f"{name} (expected {expected}, found {arrays[name].shape})")
    if wrong:
        raise ValueError(
            "`checkpoint` must hold variables of the shapes of the network's weights. "
            f"Received: {shorten(wrong)}"
        )
    report = Report(
        used=tuple(name for name in places if name in arrays),
        unused=tuple(sorted(set(arrays) - set(places) - set(ignored))),
        missing=tuple(name for name in places if name not in arrays),
        ignored=tuple(sorted(ignored)),
    )
    report.check(partial=partial)
    for name in report.used:
        weight, axes = places[name]
        weight.assign(arrays[name].transpose(axes))
    return report
