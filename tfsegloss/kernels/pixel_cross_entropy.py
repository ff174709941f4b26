"""Cross-entropies of each pixel with their gradients, to be put into a cluster with other terms.

The formulas are in `tfsegloss.losses.cross_entropy`. At ignored pixels value and gradient are
exactly 0, whatever the logits hold.
"""

import tensorflow as tf

from tfsegloss.core.targets import Targets, class_ids, is_class, zero_ignored
from tfsegloss.kernels.class_sums import log_sum_exp, sum_over_classes

# So many classes at most are taken apart, see `_sigmoid_values_by_class`.
FEW_CLASSES = 24


def softmax_losses(
    x: tf.Tensor, targets: Targets, scale: float = 1.0, floor: float = 0.0
) -> tf.Tensor:
    """Return Σ_c t_c (log Σ_k exp x_k − x_c), t = scale · target + floor.

    Its gradient is p Σt − t, p the softmax.

    Args:
        x: Logits `[…, C]`.
        targets: Of `[…]`.
        scale: Of the targets, as smoothing scales them.
        floor: What smoothing adds to each.

    Returns:
        `[…]`.
    """

    @tf.custom_gradient
    def losses(x):
        highest, log_sum = log_sum_exp(x)
        # Around the highest logit, not around 0: nothing large is subtracted from something large.
        if targets.dense is None and floor == 0:
            true = tf.gather(x, targets.ids, batch_dims=targets.ids.shape.rank)
            value = scale * (log_sum + (highest - true))
        else:
            t = _smoothed_targets(targets, x, scale, floor)
            distance = (highest[..., tf.newaxis] - x) + log_sum[..., tf.newaxis]
            value = sum_over_classes(tf.math.multiply_no_nan(distance, t))

        def gradient(upstream):
            p = tf.exp((x - highest[..., tf.newaxis]) - log_sum[..., tf.newaxis])
            by_x = _mass(targets, x, scale, floor) * p - _smoothed_targets(targets, x, scale, floor)
            return zero_ignored(upstream[..., tf.newaxis] * by_x, targets.valid)

        return zero_ignored(value, targets.valid), gradient

    return losses(x)


def sigmoid_losses(
    x: tf.Tensor, targets: Targets, scale: float = 1.0, floor: float = 0.0
) -> tf.Tensor:
    """Return Σ_c BCE(x_c, t_c), t = scale · target + floor, with its gradient σ(x) − t.

    Args:
        x: Logits `[…, C]`.
        targets: Of `[…]`.
        scale: Of the targets, as smoothing scales them.
        floor: What smoothing adds to each.

    Returns:
        `[…]`.
    """
    values = _sigmoid_values_by_class if x.shape[-1] <= FEW_CLASSES else _sigmoid_values

    @tf.custom_gradient
    def losses(x):
        def gradient(upstream):
            # Of what RMI's maps are made of, too: in one cluster they share the sigmoid.
            p = tf.sigmoid(zero_ignored(x, targets.valid))
            by_x = p - _smoothed_targets(targets, x, scale, floor)
            return upstream[..., tf.newaxis] * by_x

        return values(x, targets, scale, floor), gradient

    return zero_ignored(losses(x), targets.valid)


def _sigmoid_values(x: tf.Tensor, targets: Targets, scale: float, floor: float) -> tf.Tensor:
    """Return Σ_c max(x, 0) − t x + log(1 + e^−|x|), which is exact for t in {0, 1} at any x.

    −∞, of a class that is masked out, adds nothing where t = 0.
    """
    t = _smoothed_targets(targets, x, scale, floor)
    return sum_over_classes(
        (tf.nn.relu(x) - tf.math.multiply_no_nan(x, t)) + tf.math.log1p(tf.exp(-tf.abs(x)))
    )


def _sigmoid_values_by_class(
    x: tf.Tensor, targets: Targets, scale: float, floor: float
) -> tf.Tensor:
    """Return the same, class by class in one pass, with one logarithm for all of them.

    Σ_c log(1 + a_c) = log Π_c (1 + a_c), and Π − 1 keeps the digits of small a_c.

    0.30 × Keras' cross-entropy, 0.47 × without it ([2, 513, 513, 21], two cores). XLA compiles one
    class after the other, so it is for a few classes only.
    """
    rest, excess = tf.zeros_like(x[..., 0]), tf.zeros_like(x[..., 0])
    for logits, target in zip(tf.unstack(x, axis=-1), _split(targets, x), strict=True):
        t = scale * target + floor
        rest += tf.nn.relu(logits) - tf.math.multiply_no_nan(logits, t)
        a = tf.exp(-tf.abs(logits))
        excess += a + excess * a
    return rest + tf.math.log1p(excess)


def _split(targets: Targets, x: tf.Tensor) -> list[tf.Tensor]:
    """Return the target of each class, `[…]` each."""
    if targets.dense is not None:
        return tf.unstack(tf.cast(targets.dense, x.dtype), axis=-1)
    return [tf.cast(targets.ids == c, x.dtype) for c in class_ids(x.shape[-1])]


def _smoothed_targets(targets: Targets, x: tf.Tensor, scale: float, floor: float) -> tf.Tensor:
    """Return t `[…, C]`; anything where ignored."""
    if targets.dense is not None:
        return scale * tf.cast(targets.dense, x.dtype) + floor
    return tf.where(
        is_class(targets.ids, x.shape[-1]),
        tf.constant(scale + floor, x.dtype),
        tf.constant(floor, x.dtype),
    )


def _mass(targets: Targets, x: tf.Tensor, scale: float, floor: float) -> tf.Tensor | float:
    """Return Σ_c t_c `[…, 1]`: 1, but for soft targets that do not sum to 1."""
    total = 1.0
    if targets.dense is not None:
        total = tf.reduce_sum(tf.cast(targets.dense, x.dtype), axis=-1, keepdims=True)
    return scale * total + floor * x.shape[-1]
