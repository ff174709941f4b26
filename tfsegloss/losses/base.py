"""The contract of a loss: shapes, ignored pixels, logits or probabilities, weights, serialization.

Letters used throughout: B images, H×W pixels, C classes, V the valid (not ignored) pixels.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from numbers import Real

import tensorflow as tf

from tfsegloss.core import keras_versions, replicas
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.options import option_names
from tfsegloss.core.predictions import (
    check_prediction,
    check_probabilities,
    checked_size,
    warn_of_probabilities,
    weights_of_pixels,
)
from tfsegloss.core.targets import Targets, encode_targets, normalize_ignore_class

# Probabilities are clipped to [PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN], as Keras' losses do.
PROBABILITY_MARGIN = 1e-7
# What turns logits into probabilities.
ACTIVATIONS = ("softmax", "sigmoid")


class SegmentationLoss(keras_versions.Loss):
    """Base of all losses.

    A subclass names its `activation`, stores its options under their argument names and implements
    `terms`; `combine` where the terms are not simply added.

    `a + b` and `0.5 * a` are a `WeightedLosses`.

    Args:
        from_logits: Whether `y_pred` holds logits; otherwise the probabilities of the loss'
            activation, clipped to [1e-7, 1 - 1e-7].
        ignore_class: Id (or ids) of the pixels that change neither value nor gradient; None: none.
        reduction: As in Keras. The value of an image is its share of a mean over the global batch:
            only the mean of the values is the formula, "sum" gives it times the batch.
        name: As in Keras.
    """

    activation: str  # one of ACTIVATIONS
    # Whether the formula has no value where a class is masked out by logits of −∞.
    needs_finite_logits = False
    # Makes the scalars of NumPy leave `*` to the loss.
    __array_ufunc__ = None

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _saying_where_class_weights_go(cls.__init__)

    def __init__(
        self,
        *,
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=keras_versions.dtype_of_losses())
        self.from_logits = from_logits
        self.ignore_class = normalize_ignore_class(ignore_class)

    @property
    def least_classes(self) -> int:
        """The number of classes C from which on the formula can be learnt from."""
        return 2 if self.activation == "softmax" else 1

    @property
    def variables(self) -> list[tf.Variable]:
        """What a training loop must keep beside the model's weights; see `StatefulLoss`."""
        return []

    def build(self, num_classes: int) -> None:
        """Make the variables, if the loss has any and they are not there yet."""
        return

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Return the loss' named terms, each `[B]`, from logits `[B, H, W, C]`.

        At ignored pixels the logits may hold anything, NaN too: see `zero_ignored`.
        """
        raise NotImplementedError

    def term_maps(self, targets: Targets, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return what the terms look at, for `tfsegloss.explain`: maps `[B, H, W]` by name."""
        return {}

    def term_statistics(self, targets: Targets, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return what is worth following in a training beside the terms: scalars by name."""
        return {}

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return the value per image `[B]` from the terms: their sum."""
        return tf.add_n(list(terms.values()))

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return the reduced loss.

        Args:
            y_true: Ids `[B, H, W]` or `[B, H, W, 1]`, or dense targets `[B, H, W, C]` in [0, 1].
            y_pred: `[B, H, W, C]`.
            sample_weight: `[B]` weighs images; `[B, H, W]` or `[B, H, W, 1]` multiplies the pixel
                losses (terms of regions do not see it). Counts stay counts of valid pixels.
        """
        # Keras takes a list for a structure of tensors.
        y_true, y_pred = (
            tf.convert_to_tensor(y) if isinstance(y, list) else y for y in (y_true, y_pred)
        )
        if sample_weight is not None:
            sample_weight = tf.convert_to_tensor(sample_weight)
            rank = sample_weight.shape.rank
            if rank in (3, 4):
                # Keras would multiply the values [B] by it: hand it to `call` beside the labels.
                y_true, sample_weight = (y_true, sample_weight), None
            elif rank is None or rank > 4 or (rank == 2 and sample_weight.shape[-1] != 1):
                raise ValueError(
                    "`sample_weight` must be (batch,), (batch, height, width) or (batch, height, "
                    f"width, 1). Received: sample_weight.shape={sample_weight.shape}"
                )
            else:
                _require_one_replica_if_weighted_mean(self.reduction)
        value = super().__call__(y_true, y_pred, sample_weight)
        return keras_versions.reduce_no_values(value, self)

    def call(self, y_true: tf.Tensor | tuple[tf.Tensor, tf.Tensor], y_pred: tf.Tensor) -> tf.Tensor:
        """Return values per image `[B]` whose mean over the global batch is the formula."""
        return self.combine(self._terms(y_true, y_pred))

    def parts(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Return the terms of the loss, each a mean over the batch, before they are weighted.

        On several replicas, the mean of what they return is the formula.

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
        """Return what a call and what `parts` returns, computed once.

        Args:
            y_true: As in a call.
            y_pred: As in a call.
            sample_weight: Weights of pixels, or None.

        Returns:
            The reduced loss, and its terms by name.
        """
        given = (y_true, y_pred, *(() if sample_weight is None else (sample_weight,)))
        y_true, y_pred, *weights = (
            keras_versions.convert_to_tensor(value, self.dtype) for value in given
        )
        terms = self._terms((y_true, *weights) if weights else y_true, y_pred)
        values = self.combine(terms)
        value = keras_versions.reduce_values(values, self)
        return value, {name: replicas.mean_of_images(term) for name, term in terms.items()}

    def maps(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return what the loss looks at: the maps of `term_maps`, and "valid".

        Args:
            y_true: As in a call.
            y_pred: As in a call.

        Returns:
            Maps `[B, H, W]` by name; "valid" is bool.
        """
        y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
        targets, logits, _ = self._prepare(y_true, y_pred)
        return {"valid": targets.valid, **self.term_maps(targets, logits)}

    def statistics(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return numbers that say how a training goes, beside the parts; only some losses have any.

        They are of the images given: nothing is summed over replicas, and no gradient is meant to
        flow.

        Args:
            y_true: As in a call.
            y_pred: As in a call.

        Returns:
            Scalars by name, such as "hard_share" of `SSLLoss`; NaN where no pixel counts.
        """
        y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
        targets, logits, _ = self._prepare(y_true, y_pred)
        return self.term_statistics(targets, logits)

    def get_config(self) -> dict:
        """Return all options, by the names of the constructor's arguments."""
        return {name: getattr(self, name) for name in option_names(type(self))}

    def __add__(self, other: keras.losses.Loss) -> "SegmentationLoss":
        """Return the sum of two losses."""
        return _weighted(self).__add__(other)

    def __radd__(self, other: keras.losses.Loss | int) -> "SegmentationLoss":
        """Return the sum of two losses; 0 is none, so that `sum` takes losses."""
        return _weighted(self).__radd__(other)

    def __mul__(self, factor: float) -> "SegmentationLoss":
        """Return the loss times a number."""
        return _weighted(self).__mul__(factor) if isinstance(factor, Real) else NotImplemented

    __rmul__ = __mul__

    def _terms(
        self, y_true: tf.Tensor | tuple[tf.Tensor, tf.Tensor], y_pred: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Return the terms, NaN where anything is out of range and XLA drops the assertion."""
        targets, logits, pixel_weights = self._prepare(y_true, y_pred)
        self.build(logits.shape[-1])
        if logits.shape[0] == 0:
            return self._terms_of_no_image(logits, pixel_weights)
        terms = self.terms(targets, logits, pixel_weights)
        if self.needs_finite_logits and tf.executing_eagerly():
            _require_no_masked_class(type(self).__name__, terms, targets, logits)
        # 1, or √−1: a constant NaN in the graph would stop `tf.debugging.enable_check_numerics`. A
        # factor, since one that is added would leave the gradient as it is, and a step be taken.
        nan_if_wrong = tf.sqrt(2 * tf.cast(targets.in_range, logits.dtype) - 1)
        return {name: value * nan_if_wrong for name, value in terms.items()}

    def _terms_of_no_image(
        self, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Return empty terms, of an image without labels that counts nothing.

        So this replica takes part in all that the others sum, forward and backward.
        """
        one = tf.reduce_sum(logits, axis=0, keepdims=True)  # 0, with a gradient
        ids = tf.zeros(one.shape[:3], tf.int32)
        targets = Targets(ids, None, tf.zeros(ids.shape, tf.bool), tf.constant(True))
        if pixel_weights is not None:
            pixel_weights = tf.zeros(ids.shape, logits.dtype)
        with replicas.without_images():
            terms = self.terms(targets, one, pixel_weights)
        return {name: value[:0] for name, value in terms.items()}

    def _prepare(
        self, y_true: tf.Tensor | tuple[tf.Tensor, tf.Tensor], y_pred: tf.Tensor
    ) -> tuple[Targets, tf.Tensor, tf.Tensor | None]:
        """Return targets, logits (anything where ignored) and pixel weights (0 where ignored)."""
        y_true, pixel_weights = y_true if isinstance(y_true, tuple) else (y_true, None)
        check_prediction(y_true, y_pred)
        if self.from_logits:
            warn_of_probabilities(y_pred, type(self).__name__)
        if y_pred.shape[-1] < self.least_classes:
            instead = "a loss on sigmoids" if y_pred.shape[-1] == 1 else "SoftmaxCrossEntropy"
            raise ValueError(
                f"{type(self).__name__} needs at least {self.least_classes} classes (batch, height,"
                f" width, classes); for fewer use {instead}. Received: y_pred.shape={y_pred.shape}"
            )
        dtype = y_pred.dtype if y_pred.dtype == tf.float64 else tf.float32
        targets = encode_targets(
            y_true,
            y_pred.shape[-1],
            ignore_class=self.ignore_class,
            empty_is_ignored=self.activation == "softmax",
            dtype=dtype,
        )
        y_pred = checked_size(y_pred, targets.valid)
        logits, in_range = self._logits(tf.cast(y_pred, dtype), targets.valid)
        targets = targets._replace(in_range=targets.in_range & in_range)
        if pixel_weights is not None:
            pixel_weights, in_range = weights_of_pixels(pixel_weights, targets.valid, dtype)
            targets = targets._replace(in_range=targets.in_range & in_range)
            if self.reduction == "mean_with_sample_weight":
                pixel_weights = replicas.with_mean_one(pixel_weights, targets.valid)
        return targets, logits, pixel_weights

    def _logits(self, y_pred: tf.Tensor, valid: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | bool]:
        """Return logits, anything where ignored, and whether all that counts is in range."""
        if self.from_logits:
            return y_pred, True
        p = tf.where(valid[..., tf.newaxis], y_pred, 0.5)
        in_range = check_probabilities(p)
        p = tf.clip_by_value(p, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
        logits = tf.math.log(p if self.activation == "softmax" else p / (1 - p))
        return logits, in_range


def _require_one_replica_if_weighted_mean(reduction: str | None) -> None:
    """Refuse weights of images where Keras divides by those of each replica alone."""
    if reduction == "mean_with_sample_weight" and replicas.replica_count() > 1:
        raise ValueError(
            '`reduction` must be "sum_over_batch_size", or `sample_weight` weights of pixels, on '
            'several replicas: of weights of images "mean_with_sample_weight" takes another step '
            f"there than on one. Received: {replicas.replica_count()} replicas"
        )


def _require_no_masked_class(
    name: str, terms: dict[str, tf.Tensor], targets: Targets, logits: tf.Tensor
) -> None:
    """Say why a term is NaN or ∞, where −∞ masks a class out; the logits are searched only then."""
    if all(tf.reduce_all(tf.math.is_finite(values)) for values in terms.values()):
        return
    masked = (logits == float("-inf")) & targets.valid[..., tf.newaxis]
    if tf.reduce_any(masked):
        pixels = tf.math.count_nonzero(tf.reduce_any(masked, axis=-1))
        raise ValueError(
            f"{name} needs finite logits: mask a class out by -1e4 instead of -inf. Received: -inf "
            f"at {int(pixels)} labelled pixels"
        )


def _saying_where_class_weights_go(init: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that says so where a loss has no weights of classes."""
    if "class_weights" in inspect.signature(init).parameters:
        return init

    @functools.wraps(init)
    def saying(self, *arguments, **options):
        try:
            init(self, *arguments, **options)
        except TypeError as error:
            if "unexpected keyword argument 'class_weights'" not in str(error):
                raise
            raise TypeError(
                f"{type(self).__name__} has no `class_weights`. Add a loss of pixels that has: "
                f"SoftmaxCrossEntropy(class_weights=…) + {type(self).__name__}()."
            ) from None

    return saying


def _weighted(loss: SegmentationLoss) -> SegmentationLoss:
    """Return the loss as a `WeightedLosses` of one.

    Found by its registered name, since its module imports this one.
    """
    sum_of = keras.saving.get_registered_object("tfsegloss>WeightedLosses")
    return sum_of.of(loss)
