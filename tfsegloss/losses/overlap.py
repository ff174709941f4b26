"""Overlap of the predicted and the true region of each class: Tversky, Dice, Jaccard.

`tversky` is the formula, for readers and for tests; the classes take its sums from
`tfsegloss.kernels.overlap_sums`, over the pixels of all replicas.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfsegloss.core import replicas
from tfsegloss.core.checks import (
    check_at_least,
    check_choice,
    check_positive,
)
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.predictions import probabilities
from tfsegloss.core.targets import Targets, one_hot, zero_ignored
from tfsegloss.kernels.overlap_sums import overlap_sums
from tfsegloss.losses.base import ACTIVATIONS, SegmentationLoss

COUNTED_CLASSES = ("present", "all")


def tversky(
    targets: Targets,
    logits: tf.Tensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 1.0,
    smooth: float = 1.0,
    classes: str = "present",
    activation: str = "softmax",
    axis: Sequence[int] = (0, 1, 2),
) -> tf.Tensor:
    """Return one minus the Tversky index, a mean over the classes.

    L = mean_c (1 − T_c)^γ,  T_c = (TP_c + s) / (TP_c + α FP_c + β FN_c + s)

    TP_c = Σ_V p_c t_c, FP_c = Σ_V p_c (1 − t_c) and FN_c = Σ_V (1 − p_c) t_c, with p = softmax(x)
    or σ(x), t the one-hot (or dense) target and V the valid pixels. α = β = ½ is the Dice
    coefficient, α = β = 1 the Jaccard index, or IoU.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64.
        alpha: α ≥ 0, the weight of what is wrongly taken for the class.
        beta: β ≥ 0, the weight of what is missed of it.
        gamma: γ > 0, the focal exponent.
        smooth: s ≥ 0, in pixels.
        classes: "present": the mean is over the classes that have pixels in the truth, and 0 where
            there are none; with C = 1 the one class always counts. "all": over all C.
        activation: "softmax" or "sigmoid".
        axis: What the sums are over: (0, 1, 2) the batch, (1, 2) each image by itself.

    Returns:
        L in [0, 1], `[]` or `[B]`, in the logits' type.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[0, 1]]]), num_classes=2)
    >>> x = tf.zeros([1, 1, 2, 2])  # TP = FP = FN = ½ for both classes
    >>> round(float(tversky(targets, x, alpha=1.0, beta=1.0, smooth=0.0)), 4)
    0.6667

    Reference: Salehi et al., *Tversky loss function for image segmentation using 3D fully
    convolutional deep networks*, 2017, Eq. 3, and Abraham and Khan, *A novel focal Tversky loss
    function*, 2018, Eq. 4, whose γ is 1/γ here. Deviations: s, and classes without pixels.
    """
    valid = targets.valid
    t = one_hot(targets, logits.shape[-1], logits.dtype)  # 0 where ignored
    p = zero_ignored(probabilities(zero_ignored(logits, valid), activation), valid)
    missed = alpha * p * (1 - t) + beta * (1 - p) * t
    sums = (tf.reduce_sum(maps, axis=axis) for maps in (p * t, missed, t))
    return _mean_over_classes(*sums, gamma, smooth, classes)


def _mean_over_classes(
    hit: tf.Tensor,
    missed: tf.Tensor,
    truth: tf.Tensor,
    gamma: float,
    smooth: float,
    classes: str,
    weighted: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return mean_c (1 − T_c)^γ `[…]` of sums `[…, C]`.

    1 − T is taken as (α FP + β FN) / (TP + α FP + β FN + s), which keeps its digits near 0.

    Args:
        hit: TP.
        missed: α FP + β FN.
        truth: Σ t.
        gamma: γ.
        smooth: s.
        classes: "present" or "all".
        weighted: The numerator where pixels have weights; None: `missed`.
    """
    values = tf.math.divide_no_nan(missed if weighted is None else weighted, hit + missed + smooth)
    if gamma != 1:
        # Where nothing is missed the power has no derivative, for γ < 1.
        values = tf.maximum(values, np.finfo(values.dtype.as_numpy_dtype).tiny) ** gamma
    return mean_over_counted(values, counted_classes(truth > 0, classes))


def counted_classes(present: tf.Tensor, classes: str) -> tf.Tensor:
    """Return which classes count: all, or those that the truth holds; one class always.

    Args:
        present: bool `[…, C]`, which classes the truth holds.
        classes: "present" or "all".

    Returns:
        bool `[…, C]`.

    Example:

    >>> counted_classes(tf.constant([True, False]), "present").numpy().tolist()
    [True, False]
    """
    if classes == "all" or present.shape[-1] == 1:
        return tf.ones_like(present)
    return present


def mean_over_counted(values: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    """Return the mean over the classes that count.

    Args:
        values: `[…, C]`.
        counted: bool `[…, C]`.

    Returns:
        `[…]`; 0 where no class counts.

    Example:

    >>> float(mean_over_counted(tf.constant([0.5, 0.7]), tf.constant([True, False])))
    0.5
    """
    counted = tf.cast(counted, values.dtype)
    return tf.math.divide_no_nan(
        tf.reduce_sum(values * counted, axis=-1), tf.reduce_sum(counted, axis=-1)
    )


@keras.saving.register_keras_serializable(package="tfsegloss")
class TverskyLoss(SegmentationLoss):
    """One minus the Tversky index of each class, a mean over the classes.

    L = mean_c (1 − T_c)^γ,  T_c = (TP_c + s) / (TP_c + α FP_c + β FN_c + s), see `tversky`: of the
    pixels of the global batch, or the mean over its images of each image's own.

    Args:
        alpha: α ≥ 0, the weight of what is wrongly taken for the class.
        beta: β ≥ 0, the weight of what is missed of it.
        gamma: γ > 0, the focal exponent; the papers' is 1/γ.
        smooth: s ≥ 0, in pixels.
        per_image: Whether each image has a T of its own; otherwise they share one, and each image's
            value is L: weights `[B]` of images multiply it by their mean.
        classes: "present", those with pixels in the truth (one class always counts), or "all".
        activation: "softmax" or "sigmoid".
        from_logits: Whether `y_pred` holds logits (otherwise the activation's probabilities).
        ignore_class: Id or ids without label; None: every pixel counts.
        reduction: As in Keras.
        name: As in Keras.

    Call:
        y_true: ids `[B, H, W]` or `[B, H, W, 1]`, or dense targets `[B, H, W, C]`.
        y_pred: `[B, H, W, C]`; C ≥ 2 for a softmax.
        sample_weight: None, `[B]`, or `[B, H, W]`, which multiplies what a pixel adds to
            α FP + β FN in the numerator of 1 − T.

    Raises:
        ValueError: An option or a shape is not as above.

    Example:

    >>> loss = TverskyLoss(alpha=1.0, beta=1.0, smooth=0.0)
    >>> round(float(loss(tf.constant([[[0, 1, 255]]]), tf.zeros([1, 1, 3, 2]))), 4)
    0.6667

    Reference: Salehi et al., 2017, and Abraham and Khan, 2018, see `tversky`.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 1.0,
        smooth: float = 1.0,
        per_image: bool = False,
        classes: str = "present",
        activation: str = "softmax",
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            from_logits=from_logits, ignore_class=ignore_class, reduction=reduction, name=name
        )
        self.alpha = check_at_least("alpha", alpha, 0)
        self.beta = check_at_least("beta", beta, 0)
        self.gamma = check_positive("gamma", gamma)
        self.smooth = check_at_least("smooth", smooth, 0)
        self.per_image = bool(per_image)
        self.classes = check_choice("classes", classes, COUNTED_CLASSES)
        self.activation = check_choice("activation", activation, ACTIVATIONS)

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Return one minus the index, of each image or the same for all."""
        sums = overlap_sums(
            targets, logits, self.alpha, self.beta, self.activation, pixel_weights
        )  # [B, C]
        if not self.per_image:
            sums = [replicas.global_total(tf.reduce_sum(s, axis=0)) for s in sums]
        hit, missed, truth, *weighted = sums
        value = _mean_over_classes(
            hit, missed, truth, self.gamma, self.smooth, self.classes, *weighted
        )
        if not self.per_image:
            value = tf.fill(tf.shape(logits)[:1], value)
        return {"overlap": replicas.image_share(value)}


@keras.saving.register_keras_serializable(package="tfsegloss")
class DiceLoss(TverskyLoss):
    """One minus the Dice coefficient (F1 score) of each class, a mean over the classes.

    L = mean_c (1 − D_c),  D_c = 2 (TP_c + s) / (2 TP_c + FP_c + FN_c + 2 s): `tversky` with
    α = β = ½. The probabilities are not squared.

    Args:
        smooth: See `TverskyLoss`.
        per_image: See `TverskyLoss`.
        classes: See `TverskyLoss`.
        activation: See `TverskyLoss`.
        from_logits: See `TverskyLoss`.
        ignore_class: See `TverskyLoss`.
        reduction: See `TverskyLoss`.
        name: See `TverskyLoss`.

    Call:
        See `TverskyLoss`.

    Raises:
        ValueError: An option or a shape is not as above.

    Example:

    >>> loss = DiceLoss(smooth=0.0)
    >>> float(loss(tf.constant([[[0, 1, 255]]]), tf.zeros([1, 1, 3, 2])))
    0.5

    Reference: Drozdzal et al., *The importance of skip connections in biomedical image
    segmentation*, 2016, Eq. 1, for several classes, and one minus it instead of its negative.
    """

    def __init__(
        self,
        *,
        smooth: float = 1.0,
        per_image: bool = False,
        classes: str = "present",
        activation: str = "softmax",
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            alpha=0.5,
            beta=0.5,
            smooth=smooth,
            per_image=per_image,
            classes=classes,
            activation=activation,
            from_logits=from_logits,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
        )


@keras.saving.register_keras_serializable(package="tfsegloss")
class JaccardLoss(TverskyLoss):
    """One minus the Jaccard index (IoU) of each class, a mean over the classes.

    L = mean_c (1 − J_c),  J_c = (TP_c + s) / (TP_c + FP_c + FN_c + s): `tversky` with α = β = 1.

    Args:
        smooth: See `TverskyLoss`.
        per_image: See `TverskyLoss`.
        classes: See `TverskyLoss`.
        activation: See `TverskyLoss`.
        from_logits: See `TverskyLoss`.
        ignore_class: See `TverskyLoss`.
        reduction: See `TverskyLoss`.
        name: See `TverskyLoss`.

    Call:
        See `TverskyLoss`.

    Raises:
        ValueError: An option or a shape is not as above.

    Example:

    >>> loss = JaccardLoss(smooth=0.0)
    >>> round(float(loss(tf.constant([[[0, 1, 255]]]), tf.zeros([1, 1, 3, 2]))), 4)
    0.6667

    Reference: Rahman and Wang, *Optimizing intersection-over-union in deep neural networks for
    image segmentation*, 2016, Eq. 3 to 5, for several classes.
    """

    def __init__(
        self,
        *,
        smooth: float = 1.0,
        per_image: bool = False,
        classes: str = "present",
        activation: str = "softmax",
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            alpha=1.0,
            beta=1.0,
            smooth=smooth,
            per_image=per_image,
            classes=classes,
            activation=activation,
            from_logits=from_logits,
            ignore_class=ignore_class,
            reduction=reduction,
            name=name,
        )
