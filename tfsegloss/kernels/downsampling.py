"""Smaller maps: pooled, nearest, and bilinear."""

from collections.abc import Callable

import tensorflow as tf

from tfsegloss.core.shapes import at_least, sizes
from tfsegloss.core.targets import zero_ignored


def pooled(maps: tf.Tensor, factor: int, method: str) -> tf.Tensor:
    """Pool maps with kernel = stride = factor.

    Args:
        maps: ≥ 0, `[B, H, W, C]`; factor // 2 zeros are padded on each side.
        factor: ≥ 1.
        method: "avg", in which the padded zeros count, or "max".

    Returns:
        `[B, (H + 2 (factor // 2)) // factor, …, C]`.

    Example:

    >>> pooled(tf.ones([1, 2, 2, 1]), 2, "avg")[0, ..., 0].numpy().tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """
    reduce = tf.reduce_sum if method == "avg" else tf.reduce_max
    for axis in (1, 2):
        maps = _pooled_axis(maps, axis, factor, reduce)
    return maps / factor**2 if method == "avg" else maps


def nearest(maps: tf.Tensor, factor: int) -> tf.Tensor:
    """Take row ⌊i · H / H'⌋ for each i below H' = max(1, H // factor), and columns likewise.

    Args:
        maps: `[B, H, W, …]`.
        factor: ≥ 1.

    Returns:
        `[B, H', W', …]`.

    Example:

    >>> nearest(tf.reshape(tf.range(5), [1, 1, 5]), 2).numpy().tolist()
    [[[0, 2]]]
    """
    for axis in (1, 2):
        size = sizes(maps)[axis]
        small = _small(size, factor)
        maps = tf.gather(maps, tf.range(small) * size // small, axis=axis)
    return maps


def bilinear(maps: tf.Tensor, valid: tf.Tensor, factor: int) -> tf.Tensor:
    """Interpolate bilinearly, the corners' centers aligned, maps that are 0 where ignored.

    Args:
        maps: `[B, H, W, C]`, anything where not valid.
        valid: bool `[B, H, W]`.
        factor: ≥ 1.

    Returns:
        `[B, H', W', C]`, H' = max(1, H // factor).

    Example:

    >>> maps, valid = tf.reshape(tf.range(5.0), [1, 1, 5, 1]), tf.ones([1, 1, 5], tf.bool)
    >>> bilinear(maps, valid, 2)[0, 0, :, 0].numpy().tolist()
    [0.0, 4.0]
    """
    height, width = sizes(maps)[1:3]

    @tf.custom_gradient
    def resized(maps):
        # Masked after the rows are gathered: only what an output needs is read.
        low, high, share = _neighbors(height, _small(height, factor), maps.dtype)
        low, high = (
            zero_ignored(tf.gather(maps, i, axis=1), tf.gather(valid, i, axis=1))
            for i in (low, high)
        )
        share = share[:, tf.newaxis, tf.newaxis]
        rows = low * (1 - share) + high * share  # [B, H', W, C]
        low, high, share = _neighbors(width, _small(width, factor), maps.dtype)
        share = share[:, tf.newaxis]
        value = tf.gather(rows, low, axis=2) * (1 - share) + tf.gather(rows, high, axis=2) * share

        @tf.custom_gradient
        def adjoint(upstream):
            rows = _spread(upstream, width, axis=2)  # [B, H', W, C]
            spread = zero_ignored(_spread(rows, height, axis=1), valid)
            return spread, lambda by_spread: bilinear(by_spread, valid, factor)

        return value, adjoint

    return resized(maps)


def _small(size: int | tf.Tensor, factor: int) -> int | tf.Tensor:
    return at_least(size // factor, 1)


def _neighbors(
    size: int | tf.Tensor, small: int | tf.Tensor, dtype: tf.DType
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return two inputs of each of `small` outputs, corners aligned, and the second one's share."""
    position = tf.range(small) * (size - 1)  # in units of 1 / steps
    steps = at_least(small - 1, 1)
    low = position // steps
    share = tf.cast(position % steps, dtype) / tf.cast(steps, dtype)
    return low, tf.minimum(low + 1, size - 1), share


def _spread(maps: tf.Tensor, size: int | tf.Tensor, axis: int) -> tf.Tensor:
    """Return the adjoint of the interpolation along an axis: `size` places from the small maps.

    Outputs are at least one input apart: place k is the first neighbor of at most one output, and
    the second of at most one. So each place reads two outputs, and nothing is scattered: RMI takes
    1.34 × Keras' cross-entropy, 1.49 × where a tape scatters ([2, 513, 513, 21], two cores).
    """
    small = sizes(maps)[axis]
    steps = at_least(small - 1, 1)
    low, _, share = _neighbors(size, small, maps.dtype)
    place = tf.range(size)

    def read(first, weights):
        """Return the maps of the output whose first neighbor is `first`, weighted; else 0."""
        output = tf.clip_by_value(-(-first * steps // at_least(size - 1, 1)), 0, small - 1)
        weights = tf.where(tf.gather(low, output) == first, tf.gather(weights, output), 0)
        shape = [-1] + [1] * (len(maps.shape) - 1 - axis)
        return tf.gather(maps, output, axis=axis) * tf.reshape(weights, shape)

    return read(place, 1 - share) + read(place - 1, share)


def _pooled_axis(maps: tf.Tensor, axis: int, factor: int, reduce: Callable) -> tf.Tensor:
    """Reduce blocks of `factor` along one axis, factor // 2 zeros padded on both sides.

    The blocks that reach into the padding are reduced apart, since padding the maps would write
    all of them again: RMI takes 1.42 × Keras' cross-entropy, with padding 1.76 × ([2, 513, 513,
    21], two cores). Zeros add nothing to a sum, nor to a maximum of what is not negative.
    """
    shape = sizes(maps)
    margin = factor // 2
    first = factor - margin  # what the first block holds beside its padding
    inner = at_least(shape[axis] - first, 0) // factor
    last = (shape[axis] + 2 * margin) // factor - 1 - inner  # 0 or 1

    def cut(start, stop, x=maps):
        index = [slice(None)] * 4
        index[axis] = slice(start, stop)
        return x[tuple(index)]

    blocks = cut(first, first + inner * factor)
    blocks = tf.reshape(blocks, [*shape[:axis], inner, factor, *shape[axis + 1 :]])
    # At least one row, though it is dropped: the maximum of none is −∞, which checks would find.
    rest = at_least(shape[axis] - first - inner * factor, 1)
    end = reduce(cut(shape[axis] - rest, None), axis=axis, keepdims=True)
    begin = reduce(cut(None, first), axis=axis, keepdims=True)
    return tf.concat([begin, reduce(blocks, axis=axis + 1), cut(None, last, end)], axis)
