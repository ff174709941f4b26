"""Scores from one confusion matrix: IoU per class, their mean, accuracy."""

import warnings
from collections.abc import Sequence

import tensorflow as tf

from tfsegloss.core import keras_versions
from tfsegloss.core.checks import check_integer
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.predictions import checked_size, warn_of_probabilities
from tfsegloss.core.targets import encode_targets, normalize_ignore_class


def confusion_matrix(
    y_true: tf.Tensor,
    predicted: tf.Tensor,
    num_classes: int,
    *,
    ignore_class: int | Sequence[int] | None = 255,
) -> tf.Tensor:
    """Count pixels by true class (row) and predicted class (column).

    Args:
        y_true: Ids `[B, H, W]` or `[B, H, W, 1]` in [0, num_classes), or dense targets
            `[B, H, W, classes]`, of which the largest counts (of one class: what is above 0.5).
        predicted: Predicted ids `[B, H, W]` in [0, num_classes); anything at ignored pixels.
        num_classes: C; 1 means binary, with the ids 0 and 1.
        ignore_class: Id or ids that are not counted; None: every pixel counts.

    Returns:
        float64 `[C, C]`, `[2, 2]` for one class; exact up to 2⁵³ pixels. NaN under XLA, which
        drops assertions, where an id is out of range.

    Raises:
        ValueError: An id is out of range (see `encode_targets`), or the sizes differ.

    Example:

    >>> confusion_matrix([[[0, 1, 255]]], [[[0, 0, 1]]], num_classes=2).numpy().tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    targets = encode_targets(tf.convert_to_tensor(y_true), num_classes, ignore_class=ignore_class)
    predicted = tf.convert_to_tensor(predicted)
    if not predicted.shape.is_compatible_with(targets.valid.shape):
        raise ValueError(
            "`predicted` must have the true labels' batch, height and width. "
            f"Received: y_true {targets.valid.shape}, predicted {predicted.shape}"
        )
    predicted = checked_size(predicted, targets.valid)
    predicted = tf.where(targets.valid, predicted, tf.zeros_like(predicted))
    found = encode_targets(predicted, num_classes, ignore_class=None, name="predicted")
    ids = targets.ids
    if ids is None:
        ids = _most_likely(targets.dense, threshold=0.5)
    side = max(num_classes, 2)
    cells = tf.where(targets.valid, ids * side + found.ids, -1)  # −1: a segment sum leaves it out
    ones = tf.ones_like(cells, tf.float64)
    # Not tf.math.bincount, which XLA compiles for constants only.
    counts = tf.math.unsorted_segment_sum(ones, cells, side**2)
    in_range = targets.in_range & found.in_range
    counts = tf.where(in_range, counts, tf.constant(float("nan"), tf.float64))
    return tf.reshape(counts, [side, side])


def _most_likely(maps: tf.Tensor, threshold: float) -> tf.Tensor:
    """Return the ids `[B, H, W]` of the largest channels; of one channel, what is above."""
    if maps.shape[-1] == 1:
        return tf.cast(maps[..., 0] > threshold, tf.int32)
    return tf.argmax(maps, axis=-1, output_type=tf.int32)


def iou_per_class(matrix: tf.Tensor) -> tf.Tensor:
    """Return the intersection over union of each class, TP / (TP + FP + FN).

    Args:
        matrix: Confusion matrix `[C, C]`, rows the truth.

    Returns:
        float64 `[C]` in [0, 1]; NaN for a class absent from both truth and prediction.

    Example:

    >>> iou_per_class([[2, 0, 0], [2, 0, 0], [0, 0, 0]]).numpy().tolist()
    [0.5, 0.0, nan]
    """
    matrix = tf.cast(matrix, tf.float64)
    hits = tf.linalg.diag_part(matrix)
    return hits / (tf.reduce_sum(matrix, axis=0) + tf.reduce_sum(matrix, axis=1) - hits)


def mean_iou(matrix: tf.Tensor) -> tf.Tensor:
    """Return the mean of `iou_per_class` over the classes that occur in truth or prediction.

    Args:
        matrix: Confusion matrix `[C, C]`, rows the truth.

    Returns:
        float64 scalar in [0, 1]; NaN if no class occurs.

    Example:

    >>> float(mean_iou([[2, 0, 0], [2, 0, 0], [0, 0, 0]]))
    0.25
    """
    return mean_of_present(iou_per_class(matrix))


def mean_of_present(iou: tf.Tensor) -> tf.Tensor:
    """Return the mean of the numbers of `[C]` that are not NaN; NaN if all are."""
    present = ~tf.math.is_nan(iou)
    count = tf.cast(tf.math.count_nonzero(present), iou.dtype)
    return tf.reduce_sum(tf.where(present, iou, 0)) / count


def pixel_accuracy(matrix: tf.Tensor) -> tf.Tensor:
    """Return the share of the counted pixels that are right, Σ_c TP_c / pixels.

    Args:
        matrix: Confusion matrix `[C, C]`, rows the truth.

    Returns:
        float64 scalar in [0, 1]; NaN if no pixel is counted.

    Example:

    >>> float(pixel_accuracy([[2, 0], [1, 1]]))
    0.75
    """
    matrix = tf.cast(matrix, tf.float64)
    return tf.linalg.trace(matrix) / tf.reduce_sum(matrix)


# Stands for the class of a pixel whose prediction is NaN: an id out of range.
NO_CLASS = -1
# Stands for counts that an id out of range has spoilt, where XLA drops the error.
LOST = -(2**50)


def unless_lost(counts: tf.Tensor, lost: tf.Tensor) -> tf.Tensor:
    """Return counts as int64, `LOST` where they are."""
    return tf.where(lost, tf.constant(LOST, tf.int64), tf.cast(counts, tf.int64))


def known_counts(variable: tf.Variable) -> tf.Tensor:
    """Return summed counts as float64, NaN where some were lost."""
    counts = tf.cast(keras_versions.value_of(variable), tf.float64)
    return tf.where(counts < 0, tf.constant(float("nan"), tf.float64), counts)


def checked_batch(
    metric: keras.metrics.Metric, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return labels and predictions as tensors.

    Raises:
        ValueError: There are weights, or the predictions are not `[B, H, W, C]`.
    """
    if sample_weight is not None:
        raise ValueError(f"`sample_weight` must be None: {type(metric).__name__} counts pixels.")
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    if y_pred.shape.rank != 4 or y_pred.shape[-1] != metric.num_classes:
        raise ValueError(
            f"`y_pred` must be (batch, height, width, {metric.num_classes}). "
            f"Received: y_pred.shape={y_pred.shape}"
        )
    return y_true, y_pred


@keras.saving.register_keras_serializable(package="tfsegloss")
class MeanIoU(keras_versions.Metric):
    """Mean intersection over union of predicted logits (or probabilities), for `compile`.

    The confusion matrix of the most likely classes is summed over all updates (exactly, under
    every dtype policy) and over replicas. Classes absent from both truth and prediction are left
    out of the mean. With one class a pixel is class 1 where its logit is above 0 (its probability
    above 0.5).

    Args:
        num_classes: Number of channels C of `y_pred`.
        ignore_class: Id or ids that are not counted; None: every pixel counts.
        from_logits: Matters for one class only.
        name: As in Keras.
        dtype: As in Keras.

    Raises:
        ValueError: An option, a shape or an id is not as above.

    Example:

    >>> metric = MeanIoU(num_classes=3)
    >>> metric.update_state(tf.constant([[[0, 1, 255]]]), tf.one_hot([[[0, 0, 2]]], 3))
    >>> round(float(metric.result()), 4), metric.iou_per_class().numpy().tolist()
    (0.25, [0.5, 0.0, nan])

    Reference: Everingham et al., *The PASCAL visual object classes (VOC) challenge*, 2010: counts
    over all images, not a mean over images.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_class: int | Sequence[int] | None = 255,
        from_logits: bool = True,
        name: str = "mean_iou",
        dtype: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.num_classes = check_integer("num_classes", num_classes, 1)
        self.ignore_class = normalize_ignore_class(ignore_class)
        self.from_logits = from_logits
        side = max(self.num_classes, 2)
        self.matrix = keras_versions.add_counts(self, "confusion_matrix", shape=(side, side))

    def update_state(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: None = None
    ) -> None:
        """Add a batch.

        Args:
            y_true: Ids `[B, H, W]` or `[B, H, W, 1]`, or one-hot targets `[B, H, W, C]`.
            y_pred: Logits or probabilities `[B, H, W, C]`.
            sample_weight: Refused: pixels are counted.

        Raises:
            ValueError: A shape is not as above, a true id is out of range, or a prediction is NaN
                (a predicted id of −1).
        """
        y_true, y_pred = checked_batch(self, y_true, y_pred, sample_weight)
        missing = tf.reduce_any(tf.math.is_nan(tf.cast(y_pred, tf.float32)), axis=-1)
        if self.num_classes == 1 and self.from_logits:
            warn_of_probabilities(y_pred, type(self).__name__)
            _warn_of_numbers_in_0_1(y_pred)
        predicted = _most_likely(y_pred, threshold=0.0 if self.from_logits else 0.5)
        counts = confusion_matrix(
            y_true,
            tf.where(missing, NO_CLASS, predicted),
            self.num_classes,
            ignore_class=self.ignore_class,
        )
        self.matrix.assign_add(unless_lost(counts, tf.math.is_nan(counts)))

    def result(self) -> tf.Tensor:
        """Return the mean over the classes that occur; NaN if none does."""
        return mean_iou(known_counts(self.matrix))

    def iou_per_class(self) -> tf.Tensor:
        """Return the intersection over union of each class, NaN for an absent one: `[C]`."""
        return iou_per_class(known_counts(self.matrix))

    def get_config(self) -> dict:
        """Return all options."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_class": self.ignore_class,
            "from_logits": self.from_logits,
        }


def _warn_of_numbers_in_0_1(y_pred: tf.Tensor) -> None:
    """Warn where the numbers of one class, seen in eager mode, can hardly be logits."""
    if not tf.executing_eagerly() or not y_pred.shape.num_elements():
        return
    if 0 <= tf.reduce_min(y_pred) < tf.reduce_max(y_pred) <= 1:
        warnings.warn(
            "MeanIoU got numbers in [0, 1] while from_logits=True, which makes all of them "
            "class 1: pass from_logits=False for probabilities.",
            stacklevel=3,
        )
