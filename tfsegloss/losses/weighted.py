"""A weighted sum of losses whose parts can be logged."""

import math
from collections.abc import Mapping

import keras
import tensorflow as tf

from tfsegloss.core import replicas
from tfsegloss.losses.base import SegmentationLoss

MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


@keras.saving.register_keras_serializable(package="tfsegloss")
class WeightedLosses(SegmentationLoss):
    """Weighted sum of losses of the same labels and predictions.

    L = Σ_i w_i L_i, each L_i with its own options and its own reduction.

    `parts` returns each L_i, not weighted, by its name, and where L_i has several parts itself,
    these as "name/part".

    Besides losses of this library any `keras.losses.Loss` will do that takes these labels and
    predictions. Keras does not divide a `call` that returns a single number for the whole batch by
    the number of replicas R: such a loss weighs R times more on R replicas.

    Args:
        losses: (w_i, L_i) by name, w_i finite. All with the same `reduction`, which becomes that of
            the sum ("none": one value per image), and those that have `from_logits` with the same.
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

    Reference: The sums that the papers train on, such as RMI's (Zhao et al., 2019) Eq. 16 with a
    weight for each term.
    """

    def __init__(
        self,
        losses: Mapping[str, tuple[float, keras.losses.Loss]],
        *,
        name: str | None = None,
    ):
        self.losses = _check_losses(losses)
        super().__init__(
            from_logits=self._common("from_logits", True),
            ignore_class=None,  # each loss has its own
            reduction=self._common("reduction", None),
            name=name,
        )

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The weighted sum of what each loss gives for these arguments."""
        pairs = self.losses.values()
        return tf.add_n(
            [weight * _by_image(loss(y_true, y_pred, sample_weight)) for weight, loss in pairs]
        )

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """One value per image `[B]`, where each of the losses has one."""
        pairs = self.losses.values()
        return tf.add_n([weight * _by_image(loss.call(y_true, y_pred)) for weight, loss in pairs])

    def value_and_parts(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """What a call and what `parts` returns, computed once.

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
                value = loss(y_true, y_pred, sample_weight)
                value = _by_image(value)
            values.append(weight * value)
            parts[name] = _part(value, loss.reduction)
            if len(inner) > 1:
                parts |= {f"{name}/{part}": number for part, number in inner.items()}
        return tf.add_n(values), parts

    def maps(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> dict[str, tf.Tensor]:
        """The maps of the losses of this library, and "valid", where one of them counts the pixel.

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

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables of all losses."""
        return [v for _, loss in self.losses.values() for v in getattr(loss, "variables", [])]

    def build(self, num_classes: int) -> None:
        """Makes the variables of all losses.

        Args:
            num_classes: Number of classes C.
        """
        for _, loss in self.losses.values():
            if hasattr(loss, "build"):
                loss.build(num_classes)

    def get_config(self) -> dict:
        """All options, the losses serialized."""
        losses = {
            name: [weight, keras.saving.serialize_keras_object(loss)]
            for name, (weight, loss) in self.losses.items()
        }
        return {"losses": losses, "name": self.name}

    @classmethod
    def from_config(cls, config: dict) -> "WeightedLosses":
        """The sum with these options."""
        losses = {
            name: (weight, keras.saving.deserialize_keras_object(loss))
            for name, (weight, loss) in config["losses"].items()
        }
        return cls(**{**config, "losses": losses})

    def _common(self, option: str, default: object) -> object:
        """The value of an option of the losses; an error that names them where they differ."""
        found = {
            name: getattr(loss, option)
            for name, (_, loss) in self.losses.items()
            if hasattr(loss, option)
        }
        if len(set(found.values())) > 1:
            raise ValueError(f"`losses` must have the same `{option}`. Received: {found}")
        return next(iter(found.values()), default)


def _by_image(values: tf.Tensor) -> tf.Tensor:
    """Values `[B, …]` as their means `[B]`, as another library's loss returns them by pixel."""
    rank = values.shape.rank
    return tf.reduce_mean(values, axis=[*range(1, rank)]) if rank > 1 else values


def _part(value: tf.Tensor, reduction: str | None) -> tf.Tensor:
    """A loss' value as the replica's share of a mean over replicas."""
    if value.shape.rank > 0:
        return tf.reduce_mean(value)
    # Keras divides a mean by the number of replicas, and nothing else.
    return value * replicas.replica_count() if reduction in MEANS else value


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
