"""The contract of a loss: shapes, ignored pixels, logits or probabilities, weights, serialization.

Letters used throughout: B images, H×W pixels, C classes, V the valid (not ignored) pixels.
"""

import inspect
import warnings
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfsegloss import labels
from tfsegloss.labels import Targets
from tfsegloss.pooling import Mean, Pooling

# Probabilities are clipped to [PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN], as Keras' losses do.
PROBABILITY_MARGIN = 1e-7


class SegmentationLoss(keras.losses.Loss):
    """Base of all losses.

    A subclass names its `activation`, stores its options under their argument names and implements
    `terms`; `combine` where the terms are not simply added.

    Args:
        from_logits: Whether `y_pred` holds logits; otherwise the probabilities of the loss'
            activation, clipped to [1e-7, 1 - 1e-7].
        ignore_class: Id (or ids) of the pixels that change neither value nor gradient; None: none.
        reduction: As in Keras.
        name: As in Keras.
    """

    activation: str  # "softmax" or "sigmoid": what turns logits into probabilities

    def __init__(
        self,
        *,
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction)
        self.from_logits = from_logits
        self.ignore_class = labels.normalize_ignore_class(ignore_class)

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """The loss' named terms, each `[B]`, from finite logits `[B, H, W, C]`."""
        raise NotImplementedError

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """The value per image `[B]` from the terms: their sum."""
        return tf.add_n(list(terms.values()))

    def __call__(self, y_true, y_pred, sample_weight=None) -> tf.Tensor:
        """The reduced loss.

        Args:
            y_true: Ids `[B, H, W]` or `[B, H, W, 1]`, or dense targets `[B, H, W, C]` in [0, 1].
            y_pred: `[B, H, W, C]`.
            sample_weight: `[B]` weighs images; `[B, H, W]` or `[B, H, W, 1]` multiplies the pixel
                losses (terms of regions do not see it). Counts stay counts of valid pixels.
        """
        if sample_weight is not None:
            sample_weight = tf.convert_to_tensor(sample_weight)
            if sample_weight.shape.rank > 2:
                # Keras would multiply the values [B] by it: hand it to `call` beside the labels.
                return super().__call__((y_true, sample_weight), y_pred)
            if sample_weight.shape.rank == 2 and sample_weight.shape[-1] != 1:
                raise ValueError(
                    "`sample_weight` must be (batch,), (batch, height, width) or (batch, height, "
                    f"width, 1). Received: sample_weight.shape={sample_weight.shape}"
                )
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred) -> tf.Tensor:
        """One value per image `[B]`, such that their mean over the global batch is the formula."""
        targets, logits, pixel_weights = self._prepare(y_true, y_pred)
        value = self.combine(self.terms(targets, logits, pixel_weights))
        # XLA drops assertions: labels out of range must not go unnoticed there either.
        return tf.where(targets.in_range, value, tf.constant(float("nan"), value.dtype))

    def parts(self, y_true, y_pred, sample_weight=None) -> dict[str, tf.Tensor]:
        """The named terms of the loss, each a mean over the batch, before they are weighted.

        Args:
            y_true: As in a call.
            y_pred: As in a call.
            sample_weight: Weights of pixels, or None.

        Returns:
            Scalars by name.
        """
        y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
        if sample_weight is not None:
            y_true = (y_true, tf.convert_to_tensor(sample_weight))
        terms = self.terms(*self._prepare(y_true, y_pred))
        return {name: tf.reduce_mean(value) for name, value in terms.items()}

    def get_config(self) -> dict:
        """All options, by the names of the constructor's arguments."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def _prepare(self, y_true, y_pred) -> tuple[Targets, tf.Tensor, tf.Tensor | None]:
        """Targets, logits that are finite at ignored pixels, and weights of pixels."""
        y_true, pixel_weights = y_true if isinstance(y_true, tuple) else (y_true, None)
        _check_prediction(y_true, y_pred)
        if self.from_logits:
            _warn_of_probabilities(y_pred, type(self).__name__)
        if self.activation == "softmax" and y_pred.shape[-1] == 1:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 classes (batch, height, width, classes); "
                f"for one class use a loss on sigmoids. Received: y_pred.shape={y_pred.shape}"
            )
        dtype = y_pred.dtype if y_pred.dtype == tf.float64 else tf.float32
        targets = labels.encode(
            y_true,
            y_pred.shape[-1],
            ignore_class=self.ignore_class,
            empty_is_ignored=self.activation == "softmax",
            dtype=dtype,
        )
        _check_sizes(targets.valid, y_pred)
        logits = self._logits(tf.cast(y_pred, dtype), targets.valid)
        if pixel_weights is not None:
            pixel_weights = _pixel_weights(pixel_weights, targets.valid, dtype)
        return targets, logits, pixel_weights

    def _logits(self, y_pred: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        """Logits, with something finite at ignored pixels, before any arithmetic sees them."""
        if self.ignore_class is not None:
            y_pred = tf.where(valid[..., tf.newaxis], y_pred, 0.0 if self.from_logits else 0.5)
        if self.from_logits:
            return y_pred
        p = tf.clip_by_value(y_pred, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
        return tf.math.log(p) if self.activation == "softmax" else tf.math.log(p / (1 - p))


class PixelLoss(SegmentationLoss):
    """Base of the losses that are a pooled map of pixel losses.

    Args:
        from_logits: See `SegmentationLoss`.
        ignore_class: See `SegmentationLoss`.
        class_weights: C weights ≥ 0 that multiply the pixel losses by the pixel's class; the
            divisor stays the number of valid pixels. None: all 1.
        pooling: How the map becomes one number per image; None: `Mean()`.
        reduction: See `SegmentationLoss`.
        name: See `SegmentationLoss`.
    """

    def __init__(
        self,
        *,
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        class_weights: Sequence[float] | None = None,
        pooling: Pooling | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            from_logits=from_logits, ignore_class=ignore_class, reduction=reduction, name=name
        )
        self.class_weights = _check_class_weights(class_weights)
        self.pooling = Mean() if pooling is None else pooling

    def pixel_losses(self, targets: Targets, logits: tf.Tensor) -> tf.Tensor:
        """The map of pixel losses `[B, H, W]`, whatever it holds at ignored pixels."""
        raise NotImplementedError

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """The pooled pixel losses."""
        losses = self.pixel_losses(targets, logits)  # [B, H, W]
        if self.class_weights is not None:
            losses *= _weights_by_class(self.class_weights, targets, logits)
        if pixel_weights is not None:
            losses *= pixel_weights
        losses = tf.where(targets.valid, losses, 0)
        return {"pixels": self.pooling(losses, targets.valid)}

    def get_config(self) -> dict:
        """All options, the pooling serialized."""
        pooling = keras.saving.serialize_keras_object(self.pooling)
        return {**super().get_config(), "pooling": pooling}

    @classmethod
    def from_config(cls, config: dict) -> "PixelLoss":
        """The loss with these options."""
        pooling = keras.saving.deserialize_keras_object(config["pooling"])
        return cls(**{**config, "pooling": pooling})


def check_range(name: str, value: float, low: float, high: float) -> float:
    """`value` if it lies in [low, high]; otherwise an error that names it."""
    if not low <= value <= high:
        raise ValueError(f"`{name}` must be in [{low}, {high}]. Received: {name}={value}")
    return value


def check_positive(name: str, value: float) -> float:
    """`value` if it is finite and above 0; otherwise an error that names it."""
    if not 0 < value < float("inf"):
        raise ValueError(f"`{name}` must be above 0 and finite. Received: {name}={value}")
    return value


def check_choice(name: str, value: object, choices: Sequence[object]) -> object:
    """`value` if it is one of the choices; otherwise an error that names them."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {list(choices)}. Received: {name}={value!r}")
    return value


def check_at_least(name: str, value: int, low: int) -> int:
    """`value` if it is an integer of at least `low`; otherwise an error that names it."""
    if isinstance(value, bool) or int(value) != value or value < low:
        raise ValueError(f"`{name}` must be an integer of at least {low}. Received: {name}={value}")
    return int(value)


def _check_class_weights(class_weights: Sequence[float] | None) -> list[float] | None:
    if class_weights is None:
        return None
    weights = [float(w) for w in class_weights]
    if not all(0 <= w < float("inf") for w in weights):
        raise ValueError(
            f"`class_weights` must be finite and ≥ 0. Received: class_weights={weights}"
        )
    return weights


def _weights_by_class(weights: list[float], targets: Targets, logits: tf.Tensor) -> tf.Tensor:
    """Weight of each pixel `[B, H, W]`: of its class; without any class 1; soft ones mixed."""
    classes = logits.shape[-1]
    if len(weights) != classes:
        raise ValueError(
            f"`class_weights` must hold {classes} numbers, one per class of `y_pred`. "
            f"Received: {len(weights)}"
        )
    if targets.ids is not None:
        # One class: ids 0 are the background, which has no weight of its own.
        return tf.gather(
            tf.constant([1.0, *weights] if classes == 1 else weights, logits.dtype), targets.ids
        )
    shares = tf.cast(targets.dense, logits.dtype)
    none = tf.nn.relu(1 - tf.reduce_sum(shares, axis=-1))
    return tf.linalg.matvec(shares, tf.constant(weights, logits.dtype)) + none


def _check_prediction(y_true: tf.Tensor, y_pred: tf.Tensor) -> None:
    shape = y_pred.shape
    if shape.rank != 4 or shape[-1] is None:
        hint = " Volumes (3-D) are not supported." if shape.rank == 5 else ""
        raise ValueError(
            "`y_pred` must be (batch, height, width, classes) with a known number of classes."
            f"{hint} Received: y_pred.shape={shape}"
        )
    size = y_true.shape[1:3]
    if size.is_fully_defined() and shape[2:4] == size and shape[1:3] != size:
        raise ValueError(
            "`y_pred` must be channels_last (batch, height, width, classes); it looks like "
            f"channels_first. Received: y_pred.shape={shape}, y_true.shape={y_true.shape}"
        )


def _check_sizes(valid: tf.Tensor, y_pred: tf.Tensor) -> None:
    """An error that names both sizes where labels and predictions differ in size."""
    rule = (
        "`y_true` and `y_pred` must have the same batch, height and width; resize the logits to "
        "the labels' size, for instance with keras.layers.UpSampling2D(interpolation='bilinear')."
    )
    if valid.shape.is_compatible_with(y_pred.shape[:3]):
        if not (valid.shape.is_fully_defined() and y_pred.shape[:3].is_fully_defined()):
            tf.debugging.assert_equal(tf.shape(valid), tf.shape(y_pred)[:3], message=rule)
        return
    raise ValueError(f"{rule} Received: y_true {valid.shape}, y_pred {y_pred.shape}")


def _pixel_weights(weights: tf.Tensor, valid: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    if weights.shape.rank == 4 and weights.shape[-1] == 1:
        weights = tf.squeeze(weights, axis=-1)
    if weights.shape.rank != 3 or not weights.shape.is_compatible_with(valid.shape):
        raise ValueError(
            "`sample_weight` of pixels must be (batch, height, width) or (batch, height, width, 1) "
            f"as the labels {valid.shape}. Received: sample_weight.shape={weights.shape}"
        )
    return tf.cast(weights, dtype)


def _warn_of_probabilities(y_pred: tf.Tensor, loss: str) -> None:
    """Warns, once, where a graph shows that `y_pred` comes straight out of an activation."""
    if not hasattr(y_pred, "graph") or tf.executing_eagerly():
        return
    operation = y_pred.op
    while operation.type in ("Cast", "Identity") and operation.inputs:
        operation = operation.inputs[0].op
    if operation.type in ("Softmax", "Sigmoid"):
        warnings.warn(
            f"{loss} got the output of a {operation.type.lower()} while from_logits=True: "
            "remove the activation, or pass from_logits=False.",
            stacklevel=2,
        )
