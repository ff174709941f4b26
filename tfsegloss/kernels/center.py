"""Distances from the centers with their gradient, and what moves the centers, in few passes.

The formulas are in `tfsegloss.losses.center`. At ignored pixels value and gradient are exactly 0,
whatever the logits hold.
"""

import tensorflow as tf

from tfsegloss.core.targets import Targets, zero_ignored
from tfsegloss.kernels.class_sums import times_matrix


def distances(x: tf.Tensor, targets: Targets, centers: tf.Tensor) -> tf.Tensor:
    """Return ½ Σ_j t_j ‖x − c_j‖², with its gradient Σ_j t_j (x − c_j).

    Args:
        x: Logits `[B, H, W, C]`.
        targets: Of `[B, H, W]`.
        centers: c, `[C, C]`, a row per class.

    Returns:
        `[B, H, W]`.
    """
    if targets.dense is None:
        mass, mean, spread = 1.0, tf.gather(centers, targets.ids), 0.0  # mean: [B, H, W, C]
    else:
        # Σ_j t_j ‖x − c_j‖² = m ‖x − c̄‖² + Σ_j t_j ‖c_j‖² − m ‖c̄‖², m = Σ t, c̄ the mean center.
        shares = tf.cast(targets.dense, x.dtype)
        mass = tf.reduce_sum(shares, axis=-1)
        mean = tf.math.divide_no_nan(times_matrix(shares, centers), mass[..., tf.newaxis])
        squares = times_matrix(shares, tf.reduce_sum(centers**2, axis=-1, keepdims=True))[..., 0]
        spread = squares - mass * tf.reduce_sum(mean**2, axis=-1)

    @tf.custom_gradient
    def half_squares(x):
        offset = x - mean
        value = (mass * tf.reduce_sum(offset**2, axis=-1) + spread) / 2

        def gradient(upstream):
            return zero_ignored((upstream * mass)[..., tf.newaxis] * offset, targets.valid)

        return zero_ignored(value, targets.valid), gradient

    return half_squares(x)


def class_sums(targets: Targets, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return Σ_i t_ij x_i `[C, C]` and Σ_i t_ij `[C]` over this replica's valid pixels i.

    Args:
        targets: Of `[B, H, W]`.
        logits: x, `[B, H, W, C]`.

    Returns:
        The sums and the counts of the classes.
    """
    num_classes = logits.shape[-1]
    features = tf.reshape(zero_ignored(logits, targets.valid), [-1, num_classes])
    if targets.dense is not None:
        shares = tf.reshape(tf.cast(targets.dense, logits.dtype), [-1, num_classes])
        return tf.matmul(shares, features, transpose_a=True), tf.reduce_sum(shares, axis=0)
    ids = tf.reshape(tf.where(targets.valid, targets.ids, -1), [-1])  # −1 is dropped
    return (
        tf.math.unsorted_segment_sum(features, ids, num_classes),
        tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, num_classes),
    )
