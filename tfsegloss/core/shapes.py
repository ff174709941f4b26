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


def of_one_at_least(maps: tf.Tensor, copy: bool = False) -> tf.Tensor:
    """Return maps `[B, …]`, or one of zeros where the graph is for any B and it is 0.

    A loop over nothing fails in a graph, and XLA compiles none: a replica without images could not
    take the others' step.

    Args:
        maps: `[B, …]`.
        copy: Whether the maps are copied at any B. XLA fuses the copy into what reads it.

    Returns:
        `[max(B, 1), …]`, or the maps where B is static.

    Example:

    >>> specs = [tf.TensorSpec([None, 2])]
    >>> tf.function(of_one_at_least, input_signature=specs)(tf.ones([0, 2])).numpy().tolist()
    [[0.0, 0.0]]
    """
    if maps.shape[0] is not None:
        return maps
    is_empty = tf.shape(maps)[0] == 0
    paddings = [[0, tf.cast(is_empty, tf.int32)], *[[0, 0]] * (maps.shape.rank - 1)]
    if copy:
        return tf.pad(maps, paddings)
    return tf.cond(is_empty, lambda: tf.pad(maps, paddings), lambda: maps)


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
