"""Focal loss: cross-entropy that turns away from what is easy."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfsegloss.core.checks import check_at_least, check_choice, check_range
from tfsegloss.core.targets import (
    Targets,
    one_hot,
    split_classes,
    split_target_classes,
    zero_ignored,
)
from tfsegloss.kernels import xla
from tfsegloss.kernels.pixel_cross_entropy import softmax_losses
from tfsegloss.losses.pixel import PixelLoss
from tfsegloss.poolings.pooling import Pooling

ACTIVATIONS = ("softmax", "sigmoid")


def softmax_focal(
    targets: Targets, logits: tf.Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> tf.Tensor:
    """Focal loss of a softmax, pixel by pixel.

    ℓ = −α Σ_c t_c (1 − p_c)^γ log p_c, with p = softmax(x) and t the one-hot (or dense) target;
    cross-entropy for α = 1, γ = 0.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64.
        alpha: α in [0, 1], one factor for all classes.
        gamma: γ ≥ 0; the larger, the less pixels count that are nearly right.

    Returns:
        ℓ ≥ 0, `[B, H, W]`, in the logits' type.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[1]]]), num_classes=2)
    >>> x = tf.constant([[[[0.0, 0.0]]]])
    >>> round(float(softmax_focal(targets, x, alpha=1.0, gamma=1.0)[0, 0, 0]), 4)  # ½ log 2
    0.3466

    Reference: Lin et al., *Focal loss for dense object detection*, 2017, Eq. 5. Deviations: the
    probabilities are a softmax', and α, which balances the two classes there, is the same for all.
    α and γ are those LAD (Guo et al., 2018) compares with.
    """

    def losses(x, targets):
        if targets.dense is None:
            return alpha * _focus(softmax_losses(x, targets), gamma)
        log_p = tf.nn.log_softmax(zero_ignored(x, targets.valid))
        by_class = _focus(-log_p, gamma)  # [B, H, W, C]
        return alpha * tf.reduce_sum(tf.cast(targets.dense, x.dtype) * by_class, axis=-1)

    return xla.compiled_with_gradient(losses, logits, targets)


def sigmoid_focal(
    targets: Targets, logits: tf.Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> tf.Tensor:
    """Sum over the classes of the binary focal losses, pixel by pixel.

    ℓ = −Σ_c [α t_c (1 − p_c)^γ log p_c + (1 − α) (1 − t_c) p_c^γ log(1 − p_c)], with p = σ(x), σ
    the sigmoid, and t the one-hot (or dense) target; half the binary cross-entropies for α = ½,
    γ = 0.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64; C = 1 with ids {0, 1} is binary.
        alpha: α in [0, 1], the weight of t = 1; that of t = 0 is 1 − α.
        gamma: γ ≥ 0; the larger, the less classes count that are nearly right.

    Returns:
        ℓ ≥ 0, `[B, H, W]`, in the logits' type.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[1]]]), num_classes=2)
    >>> x = tf.constant([[[[0.0, 0.0]]]])
    >>> round(float(sigmoid_focal(targets, x, gamma=1.0)[0, 0, 0]), 4)  # (¼ + ¾) · ½ log 2
    0.3466

    Reference: Lin et al., *Focal loss for dense object detection*, 2017, Eq. 5, summed over the
    classes; their division by the number of objects has no counterpart here.
    """
    return xla.compiled_with_gradient(
        lambda x, targets: _sigmoid_losses(x, targets, alpha, gamma), logits, targets
    )


def _focus(losses: tf.Tensor, gamma: float) -> tf.Tensor:
    """(1 − p)^γ ℓ of cross-entropies ℓ = −log p ≥ 0, of any shape."""
    if gamma == 0:
        return losses

    @tf.custom_gradient
    def focus(losses):
        miss = -tf.math.expm1(-losses)  # 1 − p
        focused = tf.pow(miss, gamma)

        def gradient(upstream):
            # d/dℓ = (1 − p)^γ (1 + γ p ℓ / (1 − p)), where ℓ / (1 − p) → 1 as both vanish: this
            # way round nothing is raised to γ − 1, which is infinite at 0 for γ < 1.
            ratio = tf.where(miss > 0, losses, 1) / tf.where(miss > 0, miss, 1)
            return upstream * focused * (1 + gamma * tf.exp(-losses) * ratio)

        return focused * losses, gradient

    return focus(losses)


def _sigmoid_losses(x: tf.Tensor, targets: Targets, alpha: float, gamma: float) -> tf.Tensor:
    """Σ_c α t_c h(x_c) + (1 − α) (1 − t_c) h(−x_c), h from `_binary`."""
    hard = targets.dense is None

    @tf.custom_gradient
    def losses(x):
        planes = split_classes(x, targets.valid)
        goals = split_target_classes(targets, x.shape[-1], x.dtype)
        value = tf.add_n(
            [
                _weighed(plane, t, hard, alpha, gamma)[0]
                for plane, t in zip(planes, goals, strict=True)
            ]
        )

        def gradient(upstream):
            t = one_hot(targets, x.shape[-1], x.dtype)
            kept = zero_ignored(x, targets.valid)
            return upstream[..., tf.newaxis] * _weighed(kept, t, hard, alpha, gamma)[1]

        return value, gradient

    return zero_ignored(losses(x), targets.valid)


def _weighed(
    x: tf.Tensor, t: tf.Tensor, hard: bool, alpha: float, gamma: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """α t h(x) + (1 − α) (1 − t) h(−x) and its slope by x."""
    if hard:  # t is 0 or 1: one of the two terms is there
        sign = 2 * t - 1
        weight = alpha * t + (1 - alpha) * (1 - t)
        value, slope = _binary(sign * x, gamma)
        return weight * value, weight * sign * slope
    up, up_slope = _binary(x, gamma)
    down, down_slope = _binary(-x, gamma)
    up_weight, down_weight = alpha * t, (1 - alpha) * (1 - t)
    return (
        up_weight * up + down_weight * down,
        up_weight * up_slope - down_weight * down_slope,
    )


def _binary(x: tf.Tensor, gamma: float) -> tuple[tf.Tensor, tf.Tensor]:
    """h(x) = σ(−x)^γ log(1 + e^−x), the focal loss where t = 1, and its slope."""
    a = tf.exp(-tf.abs(x))  # the one exponential for all that follows
    large = 1 / (1 + a)
    hit, miss = (tf.where(x >= 0, *pair) for pair in ((large, a * large), (a * large, large)))
    loss = tf.nn.relu(-x) + tf.math.log1p(a)
    power = tf.pow(miss, gamma)
    return power * loss, -power * (gamma * hit * loss + miss)


@keras.saving.register_keras_serializable(package="tfsegloss")
class FocalLoss(PixelLoss):
    """Cross-entropy, weighted down where the prediction is nearly right, then pooled.

    L = pool_V(w_y ℓ), V the valid pixels, w_y the weight of a pixel's class, ℓ from
    `softmax_focal` or `sigmoid_focal`.

    Args:
        alpha: α in [0, 1]: a factor for all classes of a softmax; for sigmoids the weight of the
            pixel's class, that of the others being 1 − α.
        gamma: γ ≥ 0; 0 is cross-entropy.
        activation: "softmax" or "sigmoid".
        from_logits: Whether `y_pred` holds logits (otherwise the activation's probabilities).
        ignore_class: Id or ids without label; None: every pixel counts.
        class_weights: C weights ≥ 0, for one class those of the ids 0 and 1; pixels without class
            weigh 1, those of several classes the mean of theirs; the divisor stays |V|.
        pooling: See `tfsegloss.poolings.pooling`; None: `Mean()`.
        reduction: As in Keras.
        name: As in Keras.

    Call:
        y_true: ids `[B, H, W]` or `[B, H, W, 1]`, or dense targets `[B, H, W, C]`.
        y_pred: `[B, H, W, C]`; C ≥ 2 for a softmax.
        sample_weight: None, `[B]` or `[B, H, W]`.

    Raises:
        ValueError: An option or a shape is not as above.

    Example:

    >>> loss = FocalLoss(alpha=1.0, gamma=1.0)
    >>> round(float(loss(tf.constant([[[1, 255]]]), tf.zeros([1, 1, 2, 2]))), 4)
    0.3466
    """

    def __init__(
        self,
        *,
        alpha: float = 0.25,
        gamma: float = 2.0,
        activation: str = "softmax",
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        class_weights: Sequence[float] | None = None,
        pooling: Pooling | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            class_weights=class_weights,
            pooling=pooling,
            reduction=reduction,
            name=name,
        )
        self.alpha = check_range("alpha", alpha, 0, 1)
        self.gamma = check_at_least("gamma", gamma, 0)
        self.activation = check_choice("activation", activation, ACTIVATIONS)

    def pixel_losses(self, targets: Targets, logits: tf.Tensor) -> tf.Tensor:
        """`softmax_focal` or `sigmoid_focal` with this loss' options."""
        focal = softmax_focal if self.activation == "softmax" else sigmoid_focal
        return focal(targets, logits, alpha=self.alpha, gamma=self.gamma)
