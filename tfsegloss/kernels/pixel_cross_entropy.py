"""Cross-entropies of each pixel with their gradients, to be put into a cluster with other terms.

The public functions are in `tfsegloss.losses.cross_entropy`.
"""

import functools

import tensorflow as tf

from tfsegloss.core.targets import (
    Targets,
    is_class,
    split_classes,
    split_target_classes,
    zero_ignored,
)

# Factors between 1 and 2 whose product surely stays below float32's largest number, 2^128.
FACTORS = 100


def softmax_losses(
    x: tf.Tensor, targets: Targets, scale: float = 1.0, floor: float = 0.0
) -> tf.Tensor:
    """Σ_c t_c (log Σ_k exp x_k − x_c), t = scale · target + floor, and its gradient p Σt − t."""

    @tf.custom_gradient
    def losses(x):
        planes = split_classes(x, targets.valid)
        highest, log_sum = log_sum_exp(planes)
        goals = _goals(targets, x, scale, floor)
        mass = tf.add_n(goals)  # 1, but for soft targets that do not sum to 1
        # Around the highest logit, not around 0: nothing large is subtracted from something large.
        value = mass * log_sum + tf.add_n(
            [t * (highest - plane) for t, plane in zip(goals, planes, strict=True)]
        )

        def gradient(upstream):
            kept = zero_ignored(x, targets.valid)
            p = tf.exp((kept - highest[..., tf.newaxis]) - log_sum[..., tf.newaxis])
            slopes = mass[..., tf.newaxis] * p - _goal(targets, x, scale, floor)
            return upstream[..., tf.newaxis] * slopes

        return value, gradient

    return zero_ignored(losses(x), targets.valid)


def sigmoid_losses(
    x: tf.Tensor, targets: Targets, scale: float = 1.0, floor: float = 0.0
) -> tf.Tensor:
    """Σ_c BCE(x_c, t_c) with t = scale · target + floor, and its gradient σ(x) − t."""

    @tf.custom_gradient
    def losses(x):
        planes = split_classes(x, targets.valid)
        goals = _goals(targets, x, scale, floor)
        # BCE = max(x, 0) − t x + log(1 + e^−|x|), exact for t = 0 and t = 1 however large x is.
        value = softplus_sum([-tf.abs(plane) for plane in planes]) + tf.add_n(
            [tf.nn.relu(plane) - t * plane for t, plane in zip(goals, planes, strict=True)]
        )

        def gradient(upstream):
            p = tf.sigmoid(zero_ignored(x, targets.valid))
            return upstream[..., tf.newaxis] * (p - _goal(targets, x, scale, floor))

        return value, gradient

    return zero_ignored(losses(x), targets.valid)


def log_sum_exp(planes: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """m = max_c x_c and log Σ_c exp(x_c − m), from the C maps `[B, H, W]` of x."""
    highest = functools.reduce(tf.maximum, planes)
    return highest, tf.math.log(tf.add_n([tf.exp(plane - highest) for plane in planes]))


def softplus_sum(planes: list[tf.Tensor]) -> tf.Tensor:
    """Σ_c log(1 + exp x_c) for x_c ≤ 0, as log Π_c (1 + exp x_c): one logarithm per pixel."""
    total = tf.zeros_like(planes[0])
    for start in range(0, len(planes), FACTORS):
        excess = tf.zeros_like(total)  # Π − 1, which keeps the digits of small factors
        for plane in planes[start : start + FACTORS]:
            a = tf.exp(plane)
            excess += a + excess * a
        total += tf.math.log1p(excess)
    return total


def _goals(targets: Targets, x: tf.Tensor, scale: float, floor: float) -> list[tf.Tensor]:
    planes = split_target_classes(targets, x.shape[-1], x.dtype)
    return [scale * plane + floor for plane in planes]


def _goal(targets: Targets, x: tf.Tensor, scale: float, floor: float) -> tf.Tensor:
    if targets.dense is not None:
        return scale * tf.cast(targets.dense, x.dtype) + floor
    return tf.where(
        is_class(targets.ids, x.shape[-1]),
        tf.constant(scale + floor, x.dtype),
        tf.constant(floor, x.dtype),
    )
