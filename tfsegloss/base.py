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

    @property
    def variables(self) -> list[tf.Variable]:
        """What a training loop must keep beside the model's weights; see `tfsegloss.state`."""
        return []

    def build(self, classes: int) -> None:
        """Makes the variables, if the loss has any and they are not there yet."""
        return

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """The loss' named terms, each `[B]`, from logits `[B, H, W, C]`.

        At ignored pixels the logits may hold anything, NaN too: see `labels.zero_ignored`.
        """
        raise NotImplementedError

    def term_maps(self, targets: Targets, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the terms look at, for `tfsegloss.explain`: maps `[B, H, W]` by name."""
        return {}

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """The value per image `[B]` from the terms: their sum."""
        return tf.add_n(list(terms.values()))

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The reduced loss.

        Args:
            y_true: Ids `[B, H, W]` or `[B, H, W, 1]`, or dense targets `[B, H, W, C]` in [0, 1].
            y_pred: `[B, H, W, C]`.
            sample_weight: `[B]` weighs images; `[B, H, W]` or `[B, H, W, 1]` multiplies the pixel
                losses (terms of regions do not see it). Counts stay counts of valid pixels.
        """
        if sample_weight is not None:
            sample_weight = tf.convert_to_tensor(sample_weight)
            rank = sample_weight.shape.rank
            if rank in (3, 4):
                # Keras would multiply the values [B] by it: hand it to `call` beside the labels.
                return super().__call__((y_true, sample_weight), y_pred)
            if rank is None or rank > 4 or (rank == 2 and sample_weight.shape[-1] != 1):
                raise ValueError(
                    "`sample_weight` must be (batch,), (batch, height, width) or (batch, height, "
                    f"width, 1). Received: sample_weight.shape={sample_weight.shape}"
                )
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: tf.Tensor | tuple[tf.Tensor, tf.Tensor], y_pred: tf.Tensor) -> tf.Tensor:
        """One value per image `[B]`, such that their mean over the global batch is the formula."""
        return self.combine(self._terms(y_true, y_pred))

    def parts(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """The named terms of the loss, each a mean over the batch, before they are weighted.

        Args:
            y_true: As in a call.
            y_pred: As in a call.
            sample_weight: Weights of pixels, or None.

        Returns:
            Scalars by name.
        """
        return self.value_and_parts(y_true, y_pred, sample_weight)[1]

    def value_and_parts(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """What a call and what `parts` returns, computed once.

        Args:
            y_true: As in a call.
            y_pred: As in a call.
            sample_weight: Weights of pixels, or None.

        Returns:
            The reduced loss, and its terms by name.
        """
        given = (y_true, y_pred, *(() if sample_weight is None else (sample_weight,)))
        y_true, y_pred, *weights = (
            keras.ops.convert_to_tensor(value, dtype=self.dtype) for value in given
        )
        terms = self._terms((y_true, *weights) if weights else y_true, y_pred)
        values = self.combine(terms)
        reduce = _Reduction(reduction=self.reduction, name=self.name, dtype=self.dtype)
        return reduce(values, values), {n: tf.reduce_mean(term) for n, term in terms.items()}

    def maps(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the loss looks at: the maps of `term_maps`, and "valid".

        Args:
            y_true: As in a call.
            y_pred: As in a call.

        Returns:
            Maps `[B, H, W]` by name; "valid" is bool.
        """
        targets, logits, _ = self._prepare(y_true, y_pred)
        return {"valid": targets.valid, **self.term_maps(targets, logits)}

    def get_config(self) -> dict:
        """All options, by the names of the constructor's arguments."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def _terms(
        self, y_true: tf.Tensor | tuple[tf.Tensor, tf.Tensor], y_pred: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The terms, NaN where labels are out of range and XLA has dropped the assertion."""
        targets, logits, pixel_weights = self._prepare(y_true, y_pred)
        self.build(logits.shape[-1])
        nan = tf.constant(float("nan"), logits.dtype)
        terms = self.terms(targets, logits, pixel_weights)
        return {name: tf.where(targets.in_range, value, nan) for name, value in terms.items()}

    def _prepare(
        self, y_true: tf.Tensor | tuple[tf.Tensor, tf.Tensor], y_pred: tf.Tensor
    ) -> tuple[Targets, tf.Tensor, tf.Tensor | None]:
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
        y_pred = _checked_size(y_pred, targets.valid)
        logits = self._logits(tf.cast(y_pred, dtype), targets.valid)
        if pixel_weights is not None:
            pixel_weights = _pixel_weights(pixel_weights, targets.valid, dtype)
        return targets, logits, pixel_weights

    def _logits(self, y_pred: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        """Logits; at ignored pixels they may hold anything, see `labels.zero_ignored`."""
        if self.from_logits:
            return y_pred
        p = tf.where(valid[..., tf.newaxis], y_pred, 0.5)
        p = tf.clip_by_value(p, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
        return tf.math.log(p) if self.activation == "softmax" else tf.math.log(p / (1 - p))


class _Reduction(keras.losses.Loss):
    """Keras' reduction of values that are there already."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return y_pred


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


def _checked_size(y_pred: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """`y_pred`, or an error that names both sizes where they differ from the labels'."""
    rule = (
        "`y_true` and `y_pred` must have the same batch, height and width; resize the logits to "
        "the labels' size, for instance with keras.layers.UpSampling2D(interpolation='bilinear')."
    )
    size = y_pred.shape[:3]
    if not valid.shape.is_compatible_with(size):
        raise ValueError(f"{rule} Received: y_true {valid.shape}, y_pred {y_pred.shape}")
    if valid.shape.is_fully_defined() and size.is_fully_defined():
        return y_pred
    same = tf.debugging.assert_equal(tf.shape(valid), tf.shape(y_pred)[:3], message=rule)
    with tf.control_dependencies([same] if same is not None else []):
        return tf.identity(y_pred)


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
