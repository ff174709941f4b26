"""What became of the variables of a file, and setting weights where everything fits."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from models.checks import shorten
from models.class_count import Shape, class_count_by_pairs
from models.parts import Part, parts

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
        part: The part of the network that is set wholly; None: not known yet.
    """

    used: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    ignored: tuple[str, ...]
    part: Part | None = dataclasses.field(default=None, repr=False)

    def __str__(self) -> str:
        """One line of counts."""
        kinds = ("used", "unused", "missing", "ignored")
        return ", ".join(f"{len(getattr(self, kind))} {kind}" for kind in kinds)

    def check(
        self,
        backbone: Collection[str],
        *,
        others: Collection[str] = (),
        like_head: re.Pattern[str] | None = None,
        partial: bool,
    ) -> None:
        """Raise ValueError unless the checkpoint is of the network, or `partial` allows a part.

        Args:
            backbone: Names of its variables.
            others: Unused variables that show that the checkpoint has another backbone.
            like_head: Matches names of what stands behind such a backbone; None: nothing ever does.
            partial: Whether variables behind the backbone may be missing, and others be unused.
        """
        missing = [name for name in self.missing if name in backbone]
        if missing or others:
            raise ValueError(
                "`checkpoint` must hold the whole backbone of the network, and no other. "
                f"Received: {self}; missing of the backbone: {shorten(missing)}; "
                f"of another backbone: {shorten(others)}; unused: {shorten(self.unused)}"
            )
        if (self.missing or self.unused) and not partial:
            raise ValueError(
                "`checkpoint` must hold every variable of the network, and no others, unless "
                f"`partial` is True. Received: {self}; missing: {shorten(self.missing)}; "
                f"unused: {shorten(self.unused)}"
            )
        surplus = [name for name in self.unused if like_head and like_head.match(name)]
        if surplus and set(self.used) - set(backbone):
            raise ValueError(
                "`checkpoint` must hold no more of a head than the network has places for: choose "
                f"the architecture and options it was trained with. Received: {self}; "
                f"unused of the head: {shorten(surplus)}"
            )

    def of_a_part(self, model: keras.Model, weights: Mapping[str, keras.Variable]) -> "Report":
        """Return the report of the largest part of a network that the checkpoint has wholly.

        A decoder with random weights in it is of no use: what is behind that part stays too.

        Args:
            model: The network, none of whose backbone is missing.
            weights: By names of the checkpoint.
        """
        lacking = {id(weights[name]) for name in self.missing}
        part = next(x for x in parts(model) if lacking.isdisjoint(map(id, x.network.weights)))
        held = {id(weight) for weight in part.network.weights}
        used = tuple(name for name in self.used if id(weights[name]) in held)
        unused = tuple(sorted({*self.unused, *self.used} - set(used)))
        return dataclasses.replace(self, used=used, unused=unused, part=part)


class Place(NamedTuple):
    """Where an array of a file goes.

    Attributes:
        weight: Of the network.
        axes: Of the array, in the weight's order.
    """

    weight: keras.Variable
    axes: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return tuple(self.weight.shape[axis] for axis in np.argsort(self.axes))


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
    model: keras.Model,
    backbone: Mapping[str, Place],
    head: Mapping[str, Place],
    arrays: Mapping[str, np.ndarray],
    *,
    like_backbone: re.Pattern[str],
    like_head: re.Pattern[str] | None = None,
    ignored: Collection[str],
    partial: bool,
) -> Report:
    """Set weights from arrays of the same names; none unless everything fits.

    Args:
        model: The network.
        backbone: The places of the backbone's weights, by the names in the file.
        head: The places of all weights behind it.
        arrays: Of the file.
        like_backbone: Matches the beginning of the names that only a backbone's arrays have. One
            without a place is of another backbone.
        like_head: Matches the beginning of the names behind it; None: a file has none.
        ignored: Names of arrays that are no weights of a segmentation network.
        partial: Whether weights behind the backbone may stay because the file lacks some.

    Returns:
        The names of all arrays, by what became of them.

    Raises:
        ValueError: An array has another shape, is missing, is of another network, or has values
            that no network has.
    """
    places = {**backbone, **head}
    check_shapes(
        {name: place.shape for name, place in places.items()},
        {name: array.shape for name, array in arrays.items()},
        model.output_shape[-1],
    )
    report = Report(
        used=tuple(name for name in places if name in arrays),
        unused=tuple(sorted(set(arrays) - set(places) - set(ignored))),
        missing=tuple(name for name in places if name not in arrays),
        ignored=tuple(sorted(ignored)),
    )
    others = [name for name in report.unused if like_backbone.match(name)]
    report.check(backbone, others=others, like_head=like_head, partial=partial)
    report = report.of_a_part(model, {name: place.weight for name, place in places.items()})
    set_values(
        {name: places[name].weight for name in report.used},
        {name: arrays[name].transpose(places[name].axes) for name in report.used},
    )
    return report


def set_values(weights: Mapping[str, keras.Variable], values: Mapping[str, np.ndarray]) -> None:
    """Set weights to the values of the same names: all of them, or none.

    Args:
        weights: By names of the checkpoint.
        values: Of the weights' shapes.

    Raises:
        ValueError: Values are no floating numbers, not finite, or variances below 0.
    """
    ready = {name: _checked(name, weight, values[name]) for name, weight in weights.items()}
    for name, weight in weights.items():
        weight.assign(ready[name])


def _checked(name: str, weight: keras.Variable, value: np.ndarray) -> np.ndarray:
    """Return values in the type of their weight."""
    if not tf.as_dtype(value.dtype).is_floating:
        raise ValueError(
            f"`checkpoint` must hold floating numbers. Received: {name} of {value.dtype}"
        )
    with np.errstate(over="ignore"):  # of a narrower type, seen as infinity
        value = value.astype(weight.dtype, copy=False)
    if not np.isfinite(value).all():
        raise ValueError(
            f"`checkpoint` must hold finite numbers of {weight.dtype}. "
            f"Received: {name} with NaN or infinity"
        )
    if weight.name == "moving_variance" and (value < 0).any():
        raise ValueError(
            f"`checkpoint` must hold variances of at least 0. Received: {name} with {value.min()}"
        )
    return value


def check_shapes(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], num_classes: int
) -> None:
    """Raise ValueError unless all variables have the shapes that the network has places for.

    Args:
        expected: By names of the checkpoint.
        found: The shapes in it; names may be missing or more.
        num_classes: Of the network: if it is all that differs, the error says what to do.
    """
    wrong = {
        name: shape for name, shape in expected.items() if name in found and found[name] != shape
    }
    if wrong:
        listed = shorten(
            f"{name} (expected {shape}, found {found[name]})" for name, shape in wrong.items()
        )
        advice = _class_advice([(shape, found[name]) for name, shape in wrong.items()], num_classes)
        raise ValueError(
            "`checkpoint` must hold variables of the shapes of the network's weights. "
            f"Received: {listed}{advice}"
        )


def _class_advice(pairs: Iterable[tuple[Shape, Shape]], num_classes: int) -> str:
    """Say what to do with a network that differs in nothing but its number of classes."""
    theirs = class_count_by_pairs(pairs, num_classes)
    if theirs is None:
        return ""
    return (
        f". It is of {theirs} classes: import it with --num_classes {theirs}, and begin a training "
        "with init_from, which takes other numbers of classes"
    )
