"""Focal losses of each pixel with their gradients, in two passes over the logits.

The formulas are in `tfsegloss.losses.focal`. At ignored pixels value and gradient are exactly 0,
whatever the logits hold; where the prediction is sure, they are finite for every γ.
"""

import tensorflow as tf

from tfsegloss.core.targets import Targets, one_hot, zero_ignored
from tfsegloss.kernels.class_sums import sum_over_classes
from tfsegloss.kernels.pixel_cross_entropy import softmax_losses


def softmax_focal_losses(x: tf.Tensor, targets: Targets, alpha: float, gamma: float) -> tf.Tensor:
    """Return −α Σ_c t_c (1 − p_c)^γ log p_c, p the softmax.

    Args:
        x: Logits `[B, H, W, C]`.
        targets: Of `[B, H, W]`.
        alpha: α.
        gamma: γ.

    Returns:
        `[B, H, W]`.
    """
    if targets.dense is None:
        return alpha * _focus(softmax_losses(x, targets), gamma)
    log_p = tf.nn.log_softmax(zero_ignored(x, targets.valid))
    t = tf.cast(targets.dense, x.dtype)
    # A class that −∞ masks out adds nothing.
    return alpha * sum_over_classes(tf.math.multiply_no_nan(_focus(-log_p, gamma), t))


def sigmoid_focal_losses(x: tf.Tensor, targets: Targets, alpha: float, gamma: float) -> tf.Tensor:
    """Return Σ_c α t_c h(x_c) + (1 − α) (1 − t_c) h(−x_c), h the focal loss where t = 1.

    Args:
        x: Logits `[B, H, W, C]`.
        targets: Of `[B, H, W]`.
        alpha: α.
        gamma: γ.

    Returns:
        `[B, H, W]`.
    """

    def both(x):
        return _binary_losses(x, one_hot(targets, x.shape[-1], x.dtype), targets, alpha, gamma)

    @tf.custom_gradient
    def losses(x):
        def gradient(upstream):
            return zero_ignored(upstream[..., tf.newaxis] * both(x)[1], targets.valid)

        return zero_ignored(sum_over_classes(both(x)[0]), targets.valid), gradient

    return losses(x)


def _focus(losses: tf.Tensor, gamma: float) -> tf.Tensor:
    """Return (1 − p)^γ ℓ of cross-entropies ℓ = −log p ≥ 0, of any shape."""
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
            near = tf.math.multiply_no_nan(ratio, tf.exp(-losses))  # 0 where ℓ is infinite
            return upstream * focused * (1 + gamma * near)

        return focused * losses, gradient

    return focus(losses)


def _binary_losses(
    x: tf.Tensor, t: tf.Tensor, targets: Targets, alpha: float, gamma: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return α t h(x) + (1 − α) (1 − t) h(−x) and its derivative by x, `[B, H, W, C]` both."""
    if targets.dense is None:  # t is 0 or 1: one of the two terms is there
        sign = 2 * t - 1
        weight = alpha * t + (1 - alpha) * (1 - t)
        value, by_x = _positive_loss(sign * x, gamma)
        return weight * value, weight * sign * by_x
    up, up_by_x = _positive_loss(x, gamma)
    down, down_by_x = _positive_loss(-x, gamma)
    up_weight, down_weight = alpha * t, (1 - alpha) * (1 - t)
    weighted = tf.math.multiply_no_nan
    return (
        weighted(up, up_weight) + weighted(down, down_weight),
        weighted(up_by_x, up_weight) - weighted(down_by_x, down_weight),
    )


def _positive_loss(x: tf.Tensor, gamma: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Return h(x) = σ(−x)^γ log(1 + e^−x), the focal loss where t = 1, and its derivative."""
    a = tf.exp(-tf.abs(x))  # the one exponential for all that follows
    large = 1 / (1 + a)
    hit, miss = (tf.where(x >= 0, *pair) for pair in ((large, a * large), (a * large, large)))
    loss = tf.nn.relu(-x) + tf.math.log1p(a)
    power = tf.pow(miss, gamma)
    return power * loss, -power * (gamma * hit * loss + miss)
