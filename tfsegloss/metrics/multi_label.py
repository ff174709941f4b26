"""Intersection over union of independent classes, of which a pixel may have several."""

from collections.abc import Sequence

import tensorflow as tf

from tfsegloss.core import keras_versions
from tfsegloss.core.checks import check_between, check_integer
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.predictions import checked_size, warn_of_probabilities
from tfsegloss.core.targets import encode_targets, normalize_ignore_class, one_hot
from tfsegloss.metrics.confusion import checked_batch, known_counts, mean_of_present, unless_lost


@keras.saving.register_keras_serializable(package="tfsegloss")
class MultiLabelIoU(keras_versions.Metric):
    """Mean intersection over union of independent classes, for `compile`.

    IoU_c = |T_c ∩ P_c| / |T_c ∪ P_c|, T_c the valid pixels whose target of class c is above ½, P_c
    those whose probability σ(x_c) is above the threshold. Counts are summed over all updates
    (exactly, under every dtype policy) and over replicas; the mean is over the classes whose union
    is not empty. Unlike that of `MeanIoU` it has no background.

    Args:
        num_classes: Number of channels C of `y_pred`.
        threshold: Probability in (0, 1) above which a pixel has a class.
        ignore_class: Id or ids that are not counted: a pixel is ignored where every channel holds
            one. None: every pixel counts.
        from_logits: Whether `y_pred` holds logits x; otherwise σ(x).
        name: As in Keras.
        dtype: As in Keras.

    Raises:
        ValueError: An option, a shape or a target is not as above.

    Example:

    >>> metric = MultiLabelIoU(num_classes=2)
    >>> y_true = tf.constant([[[[1, 1], [0, 1], [0, 0]]]])
    >>> metric.update_state(y_true, tf.constant([[[[2.0, 3.0], [1.0, -1.0], [-1.0, -4.0]]]]))
    >>> float(metric.result()), metric.iou_per_class().numpy().tolist()
    (0.5, [0.5, 0.5])

    Reference: the intersection over union of Everingham et al., *The PASCAL visual object classes
    (VOC) challenge*, 2010, of each class against all that is not it; the threshold is not theirs.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        threshold: float = 0.5,
        ignore_class: int | Sequence[int] | None = 255,
        from_logits: bool = True,
        name: str = "multi_label_iou",
        dtype: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.num_classes = check_integer("num_classes", num_classes, 1)
        self.threshold = check_between("threshold", threshold, 0, 1)
        self.ignore_class = normalize_ignore_class(ignore_class)
        self.from_logits = from_logits
        # Rows: pixels in both, pixels of the targets, pixels of the predictions.
        self.counts = keras_versions.add_counts(self, "counts", shape=(3, self.num_classes))

    def update_state(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: None = None
    ) -> None:
        """Add a batch.

        Args:
            y_true: Independent targets `[B, H, W, C]` in [0, 1], or ids as the losses take them.
            y_pred: Logits or probabilities `[B, H, W, C]`.
            sample_weight: Refused: pixels are counted.

        Raises:
            ValueError: A shape is not as above, or a target is out of range (in a graph a
                `tf.errors.InvalidArgumentError`, as a prediction that is NaN always is).
        """
        y_true, y_pred = checked_batch(self, y_true, y_pred, sample_weight)
        if self.from_logits:
            warn_of_probabilities(y_pred, type(self).__name__)
        targets = encode_targets(
            y_true, self.num_classes, ignore_class=self.ignore_class, empty_is_ignored=False
        )
        y_pred = tf.cast(checked_size(y_pred, targets.valid), tf.float32)
        counted = targets.valid[..., tf.newaxis]
        missing = tf.reduce_any(tf.math.is_nan(y_pred) & counted)
        tf.debugging.assert_equal(missing, False, "`y_pred` must be no NaN where a pixel counts.")
        probabilities = tf.sigmoid(y_pred) if self.from_logits else y_pred
        true = one_hot(targets, self.num_classes, tf.float32) > 0.5
        found = (probabilities > self.threshold) & counted
        counts = tf.stack([_pixels(true & found), _pixels(true), _pixels(found)])
        self.counts.assign_add(unless_lost(counts, missing | ~targets.in_range))

    def result(self) -> tf.Tensor:
        """Return the mean over the classes that occur; NaN if none does."""
        return mean_of_present(self.iou_per_class())

    def iou_per_class(self) -> tf.Tensor:
        """Return the intersection over union of each class, NaN for an absent one: `[C]`."""
        both, true, found = tf.unstack(known_counts(self.counts))
        return both / (true + found - both)

    def get_config(self) -> dict:
        """Return all options."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "threshold": self.threshold,
            "ignore_class": self.ignore_class,
            "from_logits": self.from_logits,
        }


def _pixels(where: tf.Tensor) -> tf.Tensor:
    """Count True by class, int64 `[C]`, of `[B, H, W, C]`."""
    return tf.math.count_nonzero(where, axis=[0, 1, 2])
