"""A weighted sum of losses whose parts can be logged."""

import itertools
import math
from collections.abc import Collection, Mapping
from numbers import Real
from typing import Any

import tensorflow as tf

from tfsegloss.core import keras_versions, replicas
from tfsegloss.core.checks import check_choice
from tfsegloss.core.keras_versions import keras
from tfsegloss.losses.base import ACTIVATIONS, SegmentationLoss


@keras.saving.register_keras_serializable(package="tfsegloss")
class WeightedLosses(SegmentationLoss):
    """Weighted sum of losses of the same labels and predictions.

    L = Σ_i w_i L_i, each L_i with its own options and its own reduction.

    `a + b` and `0.5 * a` of losses make one too, whose parts have the losses' names.

    `parts` returns each L_i, not weighted, by its name, and where L_i has several parts itself,
    these as "name/part".

    Besides losses of this library any `keras.losses.Loss` will do that takes these labels and
    predictions. Keras does not divide a `call` that returns a single number for the whole batch by
    the number of replicas R: such a loss weighs R times more on R replicas. Where Keras is set to
    half precision, its own losses are computed in it, and round ids; those of this library are not.

    Args:
        losses: (w_i, L_i) by name, w_i finite. All with the same `reduction`, which becomes that of
            the sum ("none": one value per image), and those that have `from_logits` with the same.
            The sum's `ignore_class` are the ids that all losses of this library ignore.
        activation: "softmax" or "sigmoid": what turns the logits into probabilities where the sum
            is exported or explained; None: the one that all losses of this library share.
        name: As in Keras.

    Call:
        y_true: What all the losses take.
        y_pred: `[B, H, W, C]`.
        sample_weight: None, `[B]` or `[B, H, W]`; passed on to each loss.

    Raises:
        ValueError: `losses` is not as above.

    Example:

    >>> from tfsegloss import RMILoss, SoftmaxCrossEntropy
    >>> loss = WeightedLosses({"ce": (1.0, SoftmaxCrossEntropy()), "rmi": (0.5, RMILoss())})
    >>> ids, logits = tf.constant([[[0, 1], [1, 255]]]), tf.zeros([1, 2, 2, 2])
    >>> value, parts = loss.value_and_parts(ids, logits)
    >>> sorted(parts)
    ['ce', 'rmi', 'rmi/cross_entropy', 'rmi/region']
    >>> bool(abs(parts["ce"] + 0.5 * parts["rmi"] - value) < 1e-6)
    True
    >>> sorted((SoftmaxCrossEntropy() + 0.5 * RMILoss()).losses)
    ['rmi_loss', 'softmax_cross_entropy']

    Reference: The sums that the papers train on, such as RMI's (Zhao et al., 2019) Eq. 16 with a
    weight for each term.
    """

    def __init__(
        self,
        losses: Mapping[str, tuple[float, keras.losses.Loss]],
        *,
        activation: str | None = None,
        name: str | None = None,
    ):
        self.losses = _check_losses(losses)
        self._activation = activation
        if activation is not None:
            check_choice("activation", activation, ACTIVATIONS)
        all_losses = {name: loss for name, (_, loss) in self.losses.items()}
        keras_versions.track_parts(self, all_losses.values())
        super().__init__(
            from_logits=self._common("from_logits", all_losses, True),
            ignore_class=_ignored_by_all(self._ours().values()),
            reduction=self._common("reduction", all_losses, None),
            name=name,
        )

    @classmethod
    def of(cls, loss: keras.losses.Loss) -> "WeightedLosses":
        """Return the loss itself if it is a sum, else the sum of it alone under its name."""
        return loss if isinstance(loss, cls) else cls({_lasting_name(loss): (1.0, loss)})

    @property
    def activation(self) -> str:
        """What turns the logits into probabilities.

        Raises:
            ValueError: The losses have not one in common, and none was given.
        """
        if self._activation is not None:
            return self._activation
        found = {name: loss.activation for name, loss in self._ours().items()}
        if len({*found.values()}) != 1:
            raise ValueError(
                "`activation` of a sum must be given where its losses have not all the same one. "
                f"Received: {found or list(self.losses)}"
            )
        return next(iter(found.values()))

    @property
    def least_classes(self) -> int:
        """The number of classes from which on all losses of this library can be learnt from."""
        return max((loss.least_classes for loss in self._ours().values()), default=1)

    def __add__(self, other: keras.losses.Loss) -> "WeightedLosses":
        """Return the sum of all losses of both; a name that is there twice gets a number."""
        if not isinstance(other, keras.losses.Loss):
            return NotImplemented
        other = WeightedLosses.of(other)
        losses = dict(self.losses)
        for name, pair in other.losses.items():
            losses[_free_name(name, losses)] = pair
        given = {self._activation, other._activation} - {None}
        return WeightedLosses(losses, activation=given.pop() if len(given) == 1 else None)

    def __radd__(self, other: keras.losses.Loss | int) -> "WeightedLosses":
        """Return the sum; 0 is none, so that `sum` takes losses."""
        if isinstance(other, Real) and other == 0:
            return self
        if not isinstance(other, keras.losses.Loss):
            return NotImplemented
        return WeightedLosses.of(other) + self

    def __mul__(self, factor: float) -> "WeightedLosses":
        """Return the sum with every weight times a number."""
        if not isinstance(factor, Real):
            return NotImplemented
        losses = {name: (factor * weight, loss) for name, (weight, loss) in self.losses.items()}
        return WeightedLosses(losses, activation=self._activation)

    __rmul__ = __mul__

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return the weighted sum of what each loss gives for these arguments."""
        pairs = self.losses.values()
        given = y_true, y_pred, sample_weight
        return tf.add_n([weight * _value(loss, *given, called=self) for weight, loss in pairs])

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return one value per image `[B]`, where each of the losses has one."""
        pairs = self.losses.values()
        return tf.add_n([weight * _by_image(loss.call(y_true, y_pred)) for weight, loss in pairs])

    def value_and_parts(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Return what a call and what `parts` returns, computed once.

        Args:
            y_true: As in a call.
            y_pred: As in a call.
            sample_weight: Weights of pixels, or None.

        Returns:
            The weighted sum, and by name the losses and their parts, as scalars.
        """
        values, parts = [], {}
        for name, (weight, loss) in self.losses.items():
            inner = {}
            if isinstance(loss, SegmentationLoss):
                value, inner = loss.value_and_parts(y_true, y_pred, sample_weight)
            else:
                value = _value(loss, y_true, y_pred, sample_weight)
                value = keras_versions.as_share_of_replica(value, loss)
            values.append(weight * value)
            parts[name] = _part(value, loss.reduction)
            if len(inner) > 1:
                parts |= {f"{name}/{part}": number for part, number in inner.items()}
        return tf.add_n(values), parts

    def maps(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the maps of this library's losses, and "valid": where one counts the pixel.

        Args:
            y_true: As in a call.
            y_pred: As in a call.

        Returns:
            Maps `[B, H, W]`, by "name/map"; "valid" is bool.
        """
        found, valid = {}, []
        for name, (_, loss) in self.losses.items():
            if isinstance(loss, SegmentationLoss):
                inner = loss.maps(y_true, y_pred)
                valid.append(inner.pop("valid"))
                found |= {f"{name}/{of}": values for of, values in inner.items()}
        return {"valid": tf.reduce_any(tf.stack(valid), axis=0), **found} if valid else {}

    def statistics(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the statistics of this library's losses, by "name/number".

        Args:
            y_true: As in a call.
            y_pred: As in a call.

        Returns:
            Scalars.
        """
        found = {}
        for name, (_, loss) in self.losses.items():
            if isinstance(loss, SegmentationLoss):
                inner = loss.statistics(y_true, y_pred)
                found |= {f"{name}/{of}": value for of, value in inner.items()}
        return found

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables of all losses."""
        return [v for _, loss in self.losses.values() for v in getattr(loss, "variables", [])]

    def build(self, num_classes: int) -> None:
        """Make the variables of all losses.

        Args:
            num_classes: Number of classes C.
        """
        for _, loss in self.losses.values():
            if hasattr(loss, "build"):
                loss.build(num_classes)

    def get_config(self) -> dict:
        """Return all options, the losses serialized."""
        losses = {
            name: [weight, keras.saving.serialize_keras_object(loss)]
            for name, (weight, loss) in self.losses.items()
        }
        return {"losses": losses, "activation": self._activation, "name": self.name}

    @classmethod
    def from_config(cls, config: dict) -> "WeightedLosses":
        """Return the sum with these options."""
        losses = {
            name: (weight, keras.saving.deserialize_keras_object(loss))
            for name, (weight, loss) in config["losses"].items()
        }
        return cls(**{**config, "losses": losses})

    def _ours(self) -> dict[str, SegmentationLoss]:
        """Return the losses of this library by name, those of a sum in the sum as "name/name".

        A sum in the sum that was given an activation stands for its losses.
        """
        ours = {}
        for name, (_, loss) in self.losses.items():
            if isinstance(loss, WeightedLosses) and loss._activation is None:
                ours |= {f"{name}/{inner}": part for inner, part in loss._ours().items()}
            elif isinstance(loss, SegmentationLoss):
                ours[name] = loss
        return ours

    def _common(self, option: str, losses: Mapping[str, keras.losses.Loss], default: Any) -> Any:
        """Return the value that an option has in all of the losses that have it.

        Raises:
            ValueError: It differs.
        """
        found = {
            name: keras_versions.option_of(loss, option)
            for name, loss in losses.items()
            if hasattr(loss, option)
        }
        values = list(found.values())
        if any(value != values[0] for value in values):
            raise ValueError(f"`losses` must have the same `{option}`. Received: {found}")
        return values[0] if values else default


def _ignored_by_all(losses: Collection[SegmentationLoss]) -> int | list[int] | None:
    """Return the ids that every loss ignores, as the option `ignore_class` takes them."""
    sets = [
        {loss.ignore_class} if isinstance(loss.ignore_class, int) else {*(loss.ignore_class or ())}
        for loss in losses
    ]
    ids = sorted(set.intersection(*sets)) if sets else []
    return ids if len(ids) > 1 else next(iter(ids), None)


def _lasting_name(loss: keras.losses.Loss) -> str:
    """Return the name, without the number by which Keras tells instances of a class apart.

    In the next program an instance without a name of its own has another number.
    """
    name = keras_versions.name_of(loss)
    stem, _, number = name.rpartition("_")
    automatic = number.isdecimal() and stem.replace("_", "") == type(loss).__name__.lower()
    return stem if automatic else name


def _free_name(name: str, taken: Collection[str]) -> str:
    """Return the name, with the first number from 2 on that makes it a new one."""
    numbered = (f"{name}_{i}" for i in itertools.count(2))
    return name if name not in taken else next(n for n in numbered if n not in taken)


def _value(
    loss: keras.losses.Loss,
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    sample_weight: tf.Tensor | None,
    called: WeightedLosses | None = None,
) -> tf.Tensor:
    """Return the reduced loss, or where it has no reduction, its means `[B]`."""
    if sample_weight is not None and not isinstance(loss, SegmentationLoss):
        sample_weight = tf.convert_to_tensor(sample_weight)
        if sample_weight.shape.rank == 1:
            # Keras lines weights `[B]` up with the last axis of values `[B, H, W]`.
            dtype = keras_versions.dtype_of(loss)
            first = (keras_versions.convert_to_tensor(y[:1], dtype) for y in (y_true, y_pred))
            axes = [1] * (loss.call(*first).shape.rank - 1)
            sample_weight = tf.reshape(sample_weight, [-1, *axes])
    return _by_image(keras_versions.call_part(loss, y_true, y_pred, sample_weight, called))


def _by_image(values: tf.Tensor) -> tf.Tensor:
    """Return the means `[B]` of values `[B, …]`: other libraries' losses may give one a pixel.

    In float32 at least, as all of this library's are.
    """
    values = tf.cast(values, tf.float32) if values.dtype.size < tf.float32.size else values
    rank = values.shape.rank
    return tf.reduce_mean(values, axis=[*range(1, rank)]) if rank > 1 else values


def _part(value: tf.Tensor, reduction: str | None) -> tf.Tensor:
    """Return a loss' value as the replica's share of a mean over replicas."""
    if value.shape.rank > 0:
        return replicas.mean_of_images(value)
    # Keras divides a mean by the number of replicas, and nothing else.
    return value * replicas.replica_count() if reduction in keras_versions.MEANS else value


def _check_losses(
    losses: Mapping[str, tuple[float, keras.losses.Loss]],
) -> dict[str, tuple[float, keras.losses.Loss]]:
    if not isinstance(losses, Mapping):
        raise ValueError(
            "`losses` must be a dict of (finite weight, keras.losses.Loss) by name. "
            f"Received: losses={losses!r}"
        )
    checked = {}
    for name, pair in losses.items():
        if "/" in name:  # as the name of a loss' part has
            raise ValueError(f"`losses` must have names without '/'. Received: {name!r}")
        try:
            weight, loss = pair
            weight = float(weight)
        except (TypeError, ValueError):
            weight, loss = math.nan, None
        if not math.isfinite(weight) or not isinstance(loss, keras.losses.Loss):
            raise ValueError(
                "`losses` must hold (finite weight, keras.losses.Loss) by name. "
                f"Received: {name}={pair!r}"
            )
        checked[name] = weight, loss
    if not checked:
        raise ValueError("`losses` must hold at least one loss. Received: losses={}")
    return checked
