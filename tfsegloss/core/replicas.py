"""Division by counts: one device and many replicas take the same step."""

import contextlib
import threading
from collections.abc import Iterator

import tensorflow as tf

# Of a thread: `MirroredStrategy` traces each replica in one of its own.
_replica = threading.local()


def replica_count() -> int:
    """Return the number of replicas that take a step together."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def global_sum(value: tf.Tensor) -> tf.Tensor:
    """Return the sum of a per-replica value over all replicas; no gradient flows through it."""
    value = tf.stop_gradient(value)
    context = tf.distribute.get_replica_context()
    # There is no replica context while Keras builds a model symbolically inside a strategy's scope.
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def gather(value: tf.Tensor, axis: int) -> tuple[tf.Tensor, int | tf.Tensor]:
    """Return the values of all replicas side by side, and where this one's begins; no gradient.

    Args:
        value: Of the same shape on all replicas but for the axis.
        axis: Along which they are put.

    Example:

    >>> values, first = gather(tf.constant([[1, 2]]), axis=1)
    >>> values.numpy().tolist(), first
    ([[1, 2]], 0)
    """
    value = tf.stop_gradient(value)
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value, 0
    counts = context.all_gather(tf.shape(value)[axis : axis + 1], axis=0)
    first = tf.cumsum(counts, exclusive=True)[context.replica_id_in_sync_group]
    return context.all_gather(value, axis=axis), first


@tf.custom_gradient
def global_total(value: tf.Tensor) -> tf.Tensor:
    """Return the sum over all replicas of a value that a formula of the global batch is made of.

    All replicas compute that formula, and each of their values depends on what this replica adds:
    the gradient is the sum of theirs, which the same function gives, and so the further ones.

    Args:
        value: This replica's share.

    Returns:
        In the value's shape.

    Example:

    >>> float(global_total(tf.constant(3.0)))
    3.0
    """
    return global_sum(value), global_total


def normalize_globally(numerators: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Return per-image values whose Keras mean is `sum(numerators) / count` over the global batch.

    Keras divides by the replica's own batch B and by the number of replicas R, so the value of an
    image is numerator · B · R / Σ_replicas count; B of the replica, not B_global / R, keeps an
    unequal last shard exact.

    Args:
        numerators: `[B]`.
        count: `[]`, this replica's share of the divisor.

    Returns:
        `[B]`; 0 where the global count is 0.

    Example:

    >>> normalize_globally(tf.constant([1.0, 5.0]), tf.constant(4)).numpy().tolist()
    [0.5, 2.5]
    """
    dtype = numerators.dtype
    images = tf.cast(tf.shape(numerators)[0] * replica_count(), dtype)
    total = tf.cast(global_sum(count), dtype)
    return tf.math.divide_no_nan(numerators * images, total)


def mean_over_pixels(
    losses: tf.Tensor,
    valid: tf.Tensor,
    pixel_weights: tf.Tensor | None = None,
    *,
    additional: float = 0,
) -> tf.Tensor:
    """Return per-image values whose Keras mean is Σ_V w ℓ / |V|, V all replicas' valid pixels.

    Args:
        losses: ℓ `[B, H, W]`, 0 where not valid.
        valid: bool `[B, H, W]`.
        pixel_weights: w `[B, H, W]`; None: 1. The divisor stays |V|.
        additional: Added to |V|.

    Returns:
        `[B]`; 0 where |V| = 0.

    Example:

    >>> losses, valid = tf.constant([[[1.0, 3.0]], [[5.0, 0.0]]]), tf.constant([[[1, 1]], [[1, 0]]])
    >>> float(tf.reduce_mean(mean_over_pixels(losses, valid == 1)))
    3.0
    """
    if pixel_weights is not None:
        losses *= pixel_weights
    count = tf.math.count_nonzero(valid)
    if additional:  # shared by the replicas
        count = tf.cast(count, losses.dtype) + additional / replica_count()
    return normalize_globally(tf.reduce_sum(losses, axis=[1, 2]), count)


def with_mean_one(weights: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Return weights of pixels divided by their mean over all replicas' valid pixels.

    Args:
        weights: `[B, H, W]`, 0 where not valid.
        valid: bool `[B, H, W]`.

    Returns:
        `[B, H, W]`, 0 where all are 0.

    Example:

    >>> weights, valid = tf.constant([[[1.0, 3.0, 0.0]]]), tf.constant([[[True, True, False]]])
    >>> with_mean_one(weights, valid).numpy().tolist()
    [[[0.5, 1.5, 0.0]]]
    """
    count, total = global_sum(
        tf.stack([tf.math.count_nonzero(valid, dtype=weights.dtype), tf.reduce_sum(weights)])
    )
    return weights * tf.math.divide_no_nan(count, total)


def image_share(values: tf.Tensor) -> tf.Tensor:
    """Return values `[B]` weighted so that Keras' mean is that over all replicas' images."""
    images = tf.shape(values)[0] if getattr(_replica, "has_images", True) else 0
    return normalize_globally(values, images)


def mean_of_images(values: tf.Tensor) -> tf.Tensor:
    """Return the mean of values `[B]`; 0 on a replica without images.

    Example:

    >>> float(mean_of_images(tf.zeros([0])))
    0.0
    """
    return tf.math.divide_no_nan(tf.reduce_sum(values), tf.cast(tf.size(values), values.dtype))


@contextlib.contextmanager
def without_images() -> Iterator[None]:
    """Count no image inside, on a replica that has none and computes with one that it made up.

    Example:

    >>> with without_images():
    ...     image_share(tf.constant([3.0])).numpy().tolist()
    [0.0]
    """
    _replica.has_images = False
    try:
        yield
    finally:
        _replica.has_images = True
