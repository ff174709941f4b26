"""Covariances of the regions of two maps, with their gradient, some maps at a time.

The formula that they go into is in `tfsegloss.losses.rmi`. The points of all maps at once are 2·d
maps in float64, d the pixels of a region; on a CPU those of a few maps stay in the cache.
"""

from collections.abc import Callable

import tensorflow as tf

from tfsegloss.core.shapes import at_least, sizes
from tfsegloss.kernels import xla

# Of downsampled maps on a CPU. Their points are 10 MB: of 3 maps of a 513×513 crop.
PIXELS_AT_ONCE = 2**16


def maps_of_classes(maps: tf.Tensor) -> tf.Tensor:
    """Return the maps of `[B, H, W, C]` one after the other, `[B · C, H, W]`."""
    images, height, width, num_classes = sizes(maps)
    return tf.reshape(tf.transpose(maps, [0, 3, 1, 2]), [images * num_classes, height, width])


def region_points(maps: tf.Tensor, region_size: int) -> tf.Tensor:
    """Return all regions of maps, stride 1, no padding, centered, in float64.

    Args:
        maps: `[n, H, W]`.
        region_size: Side of a region.

    Returns:
        `[n, d, N]`: d = region_size² numbers of each of N regions, 0 on average.

    Example:

    >>> region_points(tf.constant([[[1.0, 3.0], [2.0, 2.0]]]), 1)[0].numpy().tolist()
    [[-1.0, 1.0, 0.0, 0.0]]
    """
    maps = tf.cast(maps, tf.float64)
    shape = sizes(maps)
    height = at_least(shape[1] - region_size + 1, 0)
    width = at_least(shape[2] - region_size + 1, 0)
    shifted = [
        maps[:, i : i + height, j : j + width]
        for i in range(region_size)
        for j in range(region_size)
    ]
    points = tf.stack(shifted, axis=1)  # [n, d, height, width]
    points = tf.reshape(points, [shape[0], region_size**2, height * width])
    count = tf.cast(at_least(height * width, 1), points.dtype)
    return points - tf.reduce_sum(points, axis=-1, keepdims=True) / count


def region_covariance(truth: tf.Tensor, probabilities: tf.Tensor, region_size: int) -> tf.Tensor:
    """Return Σ z zᵀ over the regions of each map, z the region of the truth above that of p.

    Its gradient by the probabilities is exact; the truth is a constant.

    Args:
        truth: `[B, H, W, C]`.
        probabilities: p, `[B, H, W, C]`.
        region_size: Side of a region.

    Returns:
        `[B, C, 2·d, 2·d]`, float64, d = region_size².

    Example:

    >>> region_covariance(tf.eye(2)[None, ..., None], tf.zeros([1, 2, 2, 1]), 1).numpy().tolist()
    [[[[1.0, 0.0], [0.0, 0.0]]]]
    """
    size = 2 * region_size**2

    def products(y, p):
        z = tf.concat([region_points(m, region_size) for m in (y, p)], axis=1)  # [n, 2·d, N]
        return tf.matmul(z, z, transpose_b=True)

    def gradients(y, p, upstream):
        y = region_points(y, region_size)
        with tf.GradientTape() as tape:
            tape.watch(p)
            z = region_points(p, region_size)
        upstream = upstream + tf.linalg.matrix_transpose(upstream)
        by_y, by_p = tf.split(upstream[:, size // 2 :], 2, axis=-1)
        return tape.gradient(z, p, tf.matmul(by_y, y) + tf.matmul(by_p, z))

    # Sizes are read inside: those of outside are no constants to XLA where the batch is unknown.
    def forward(truth, probabilities):
        maps = [maps_of_classes(m) for m in (truth, probabilities)]
        found = _by_maps(products, maps, size, tf.float64)
        return tf.reshape(found, [-1, probabilities.shape[-1], size, size])

    def backward(truth, probabilities, upstream):
        maps = [maps_of_classes(m) for m in (truth, probabilities)]
        upstream = tf.reshape(upstream, [-1, size, size])
        found = _by_maps(gradients, [*maps, upstream], size, probabilities.dtype)
        images, height, width, num_classes = sizes(probabilities)
        found = tf.reshape(found, [images, num_classes, height, width])
        return tf.transpose(found, [0, 2, 3, 1])

    @tf.custom_gradient
    def covariance(probabilities):
        value = xla.compiled(forward, truth, probabilities)
        return value, lambda upstream: xla.compiled(backward, truth, probabilities, upstream)

    return covariance(probabilities)


def _by_maps(
    function: Callable[..., tf.Tensor], arguments: list[tf.Tensor], size: int, dtype: tf.DType
) -> tf.Tensor:
    """Return a function of maps `[n, …]`, of some at a time, with `size` numbers a pixel."""
    count, height, width = sizes(arguments[0])
    pixels = at_least(height * width, 1)
    at_once = xla.at_once(
        count,
        on_cpu=at_least(PIXELS_AT_ONCE // pixels, 1),
        bytes_each=pixels * size * tf.float64.size,
    )
    steps = -(-count // at_least(at_once, 1))

    def split(x):
        rest = sizes(x)[1:]
        x = tf.pad(x, [[0, steps * at_once - count]] + [[0, 0]] * len(rest))
        return tf.reshape(x, [steps, at_once, *rest])

    # AutoGraph would read through all that the function calls, at each call.
    @tf.autograph.experimental.do_not_convert
    def step(arguments):
        return function(*arguments)

    found = tf.map_fn(step, tuple(map(split, arguments)), fn_output_signature=dtype)
    return tf.reshape(found, [steps * at_once, *sizes(found)[2:]])[:count]
