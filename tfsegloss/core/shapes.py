"""Sizes as Python integers where a graph knows them, as tensors where it does not."""

import tensorflow as tf


def sizes(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """Return the size of each axis.

    Example:

    >>> sizes(tf.zeros([2, 3]))
    [2, 3]
    """
    dynamic = tf.shape(tensor)
    return [dynamic[i] if size is None else size for i, size in enumerate(tensor.shape)]


def at_most(size: int | tf.Tensor, high: int | tf.Tensor) -> int | tf.Tensor:
    """Return the smaller of two sizes.

    Example:

    >>> at_most(2, 3)
    2
    """
    both = isinstance(size, int) and isinstance(high, int)
    return min(size, high) if both else tf.minimum(size, high)


def at_least(size: int | tf.Tensor, low: int) -> int | tf.Tensor:
    """Return the larger of a size and a number.

    Example:

    >>> at_least(2, 3)
    3
    """
    return max(size, low) if isinstance(size, int) else tf.maximum(size, low)
