"""LAD's pixel losses and their gradient, a block of rows at a time.

The formula is in `tfsegloss.losses.lad`.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from tfsegloss.core.shapes import sizes
from tfsegloss.core.targets import Targets, classes, zero_ignored
from tfsegloss.kernels import windows
from tfsegloss.kernels.class_sums import sum_over_classes
from tfsegloss.kernels.row_blocks import (
    inner_rows,
    inner_targets,
    map_row_blocks,
    pad_classes_to_vector_width,
)

VARIANCE_OFFSET = 1e-6  # keeps 1/σ finite where all logits of a pixel are equal
# Largest exponent, less some, whose exponential has a float32.
LARGEST_EXPONENT = 88.0


def pooled_losses(targets: Targets, logits: tf.Tensor, kernel_size: int) -> tf.Tensor:
    """Return what `tfsegloss.losses.lad.locally_adaptive` does, of the same arguments.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[0, 0]]]), num_classes=2)
    >>> logits = tf.constant([[[[9.0, 0.0], [0.0, 1.0]]]])
    >>> [round(float(x), 3) for x in pooled_losses(targets, logits, kernel_size=5)[0, 0]]
    [0.313, 1.313]
    """
    margin = kernel_size // 2

    def losses(x, block):
        pooled = _pool(x, block, kernel_size, margin).pooled
        return _cross_entropies(pooled, inner_targets(block, margin), x.shape[-1])

    def gradient(x, block, upstream):
        return _gradient(x, block, inner_rows(upstream, margin), kernel_size)

    @tf.custom_gradient
    def pixel_losses(x):
        value = map_row_blocks(losses, x, targets, margin=margin, reflect=False)

        def backward(upstream):
            return map_row_blocks(gradient, x, targets, upstream, margin=2 * margin, reflect=False)

        return value, backward

    return pixel_losses(logits)


class _Pooled(NamedTuple):
    """Blocks of H rows, padded to W columns, and their selective pooling."""

    z: tf.Tensor  # [N, H, W, C and lanes], see `pad_classes_to_vector_width`
    deviation: tf.Tensor  # [N, H, W], √(var x + 1e-6)
    ids: tf.Tensor  # int32 [N, H, W], -1 where ignored and in the padding
    weights: tf.Tensor  # [size², N, H - size + 1, W - size + 1]
    count: tf.Tensor  # [N, H - size + 1, W - size + 1], ξ, at least 1
    pooled: tf.Tensor  # [N, H - size + 1, W - size + 1, C and lanes], f


def _pool(x: tf.Tensor, block: Targets, size: int, margin: int) -> _Pooled:
    # Padded before all else: what is padded later, XLA pads again at each read of a window.
    ids = _fill_columns(classes(block) + 1, margin) - 1
    z, deviation = _standardized(zero_ignored(_fill_columns(x, margin), ids >= 0))
    weights = windows.same_class_weights(ids, size, x.dtype)
    count = tf.maximum(windows.same_class_count(weights), 1)
    pooled = windows.weighted_sum(z, weights) / count[..., tf.newaxis]
    return _Pooled(z, deviation, ids, weights, count, pooled)


def _standardized(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return z = (x − mean_c x) / deviation, with its lanes, and deviation = √(var_c x + 1e-6)."""
    num_classes = x.shape[-1]
    x -= x[..., :1]  # a constant of the pixel, whose digits the mean would cost all the others
    mean = sum_over_classes(x)[..., tf.newaxis] / num_classes
    variance = sum_over_classes(tf.square(x - mean)) / num_classes
    deviation = tf.sqrt(variance + VARIANCE_OFFSET)
    return (pad_classes_to_vector_width(x) - mean) / deviation[..., tf.newaxis], deviation


def _cross_entropies(f: tf.Tensor, targets: Targets, num_classes: int) -> tf.Tensor:
    """Return Σ_c t_c (log Σ_k exp f_k − f_c), 0 where ignored, of pooled logits with their lanes.

    The highest f lies in [0, 2 √(C − 1)]: instead of it, which would have to be found, the target's
    own is taken off, or what keeps the exponentials of thousands of classes in float32.
    """
    if targets.dense is None:
        mass, target = 1.0, tf.gather(f, targets.ids, batch_dims=3)
        around = target
    else:
        dense = pad_classes_to_vector_width(tf.cast(targets.dense, f.dtype))
        mass = sum_over_classes(dense, num_classes)
        target = sum_over_classes(dense * f, num_classes)
        around = target / tf.maximum(mass, 1)  # no more than the highest
    highest = 2 * math.sqrt(num_classes - 1) + math.log(num_classes)
    around = tf.maximum(around, max(0.0, highest - LARGEST_EXPONENT))
    exponentials = tf.exp(f - around[..., tf.newaxis])
    log_sum = tf.math.log(sum_over_classes(exponentials, num_classes))
    return zero_ignored(mass * log_sum + (mass * around - target), targets.valid)


def _gradient(x: tf.Tensor, block: Targets, upstream: tf.Tensor, size: int) -> tf.Tensor:
    """Return the gradient of Σ upstream · ℓ by the inner rows of x.

    Args:
        x: Logits of the rows, with 2 ⌊size / 2⌋ more on both sides.
        block: Targets of the same rows.
        upstream: Of the rows with ⌊size / 2⌋ more on both sides.
        size: Side of the window.
    """
    num_classes, margin = x.shape[-1], size // 2
    of = _pool(x, block, size, 2 * margin)
    ids = _inner(of.ids, margin)
    share = zero_ignored(_fill_columns(upstream, margin), ids >= 0) / of.count
    # Instead of the highest f, which lies in [0, 2 √(C − 1)], the middle of that is taken off:
    # float32 holds the exponentials of up to 6000 classes.
    exponentials = tf.exp(of.pooled - math.sqrt(num_classes - 1))
    scale = share / sum_over_classes(exponentials, num_classes)
    if block.dense is None:
        is_target = ids[..., tf.newaxis] == tf.range(of.pooled.shape[-1])
        target = tf.where(is_target, share[..., tf.newaxis], 0)
    else:
        dense = tf.cast(inner_targets(block, margin).dense, x.dtype)
        dense = pad_classes_to_vector_width(_fill_columns(dense, margin))
        target = dense * share[..., tf.newaxis]
        scale *= sum_over_classes(dense, num_classes)
    by_pooled = scale[..., tf.newaxis] * exponentials - target
    # Which pixels see each other is symmetric: the gradient is the same sum again.
    by_z = windows.weighted_sum(by_pooled, _inner(of.weights, margin, first_axis=2))
    # The gradient of `_standardized`, v − mean_c v − z · mean_c(v z) with v = by_z / deviation. The
    # second term is 0, since a softmax' gradient sums to 0 over the classes, and v with it.
    v = by_z / _inner(of.deviation, 2 * margin)[..., tf.newaxis]
    z = _inner(of.z, 2 * margin)
    along = sum_over_classes(v * z, num_classes)[..., tf.newaxis] / num_classes
    return (v - z * along)[..., :num_classes]


def _inner(maps: tf.Tensor, margin: int, first_axis: int = 1) -> tf.Tensor:
    """Return maps without a margin at each side of two axes."""
    index = [slice(None)] * first_axis
    index += [slice(margin, n - margin) for n in sizes(maps)[first_axis : first_axis + 2]]
    return maps[tuple(index)]


def _fill_columns(maps: tf.Tensor, margin: int) -> tf.Tensor:
    # With zeros: `tf.vectorized_map` pads with them whatever `constant_values` says.
    margins = [[0, 0]] * maps.shape.rank
    margins[2] = [margin, margin]
    return tf.pad(maps, margins)
