"""RMI's term of regions with its gradient, computed together, some maps at a time.

The formula is in `tfsegloss.losses.rmi`. The points of all maps at once are 2·d maps in float64, d
the pixels of a region; on a CPU those of a few maps stay in the cache.
"""

import itertools

import tensorflow as tf

from tfsegloss.core.shapes import at_least, sizes
from tfsegloss.kernels import xla

# Of downsampled maps on a CPU: one of a 513×513 crop, whose points are 2 MB. The term takes 72 ms
# with it, 81 ms with twice as many, 95 ms for the whole batch ([2, 513, 513, 21], two cores).
PIXELS_AT_ONCE = 2**15


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


def region_values(
    truth: tf.Tensor,
    probabilities: tf.Tensor,
    region_size: int,
    epsilon: float,
    diagonal_offset: float,
) -> tf.Tensor:
    """Return Σ_c ½ log det(M_bc + εI) / d of downsampled maps, image by image.

    The gradient by the probabilities is computed in the same pass, and kept: it is no larger than
    they are. RMI takes 1.42 × Keras' cross-entropy; with a tape through the decompositions 1.58 ×,
    and 1.3 times as long to compile ([2, 513, 513, 21], two cores).

    Args:
        truth: `[B, H, W, C]`.
        probabilities: `[B, H, W, C]`.
        region_size: Side of a region.
        epsilon: ε.
        diagonal_offset: Added to the diagonal of the Cholesky factor in the logarithm.

    Returns:
        `[B]`, in the probabilities' type.
    """

    # AutoGraph would read through all that the function calls, at each call.
    @tf.autograph.experimental.do_not_convert
    def step(maps):
        return _values_and_gradients(*maps, region_size, epsilon, diagonal_offset)

    def values_and_gradients(truth, probabilities):
        images, height, width, num_classes = sizes(probabilities)
        count, pixels = images * num_classes, at_least(height * width, 1)
        at_once = xla.at_once(
            count,
            on_cpu=at_least(PIXELS_AT_ONCE // pixels, 1),
            # Of both maps and of the gradient: points, and points less their means.
            bytes_each=[6 * region_size**2 * tf.float64.size, pixels],
        )
        # Of no image one step too: XLA compiles no loop over nothing.
        at_once = at_least(at_once, 1)
        steps = at_least(-(-count // at_once), 1)

        def split(maps):
            maps = tf.pad(maps_of_classes(maps), [[0, steps * at_once - count], [0, 0], [0, 0]])
            return tf.reshape(maps, [steps, at_once, height, width])

        values, gradients = tf.map_fn(
            step,
            (split(truth), split(probabilities)),
            fn_output_signature=(tf.float64, probabilities.dtype),
        )
        values = tf.reshape(tf.reshape(values, [-1])[:count], [images, num_classes])
        gradients = tf.reshape(gradients, [-1, height, width])[:count]
        gradients = tf.reshape(gradients, [images, num_classes, height, width])
        value = tf.cast(tf.reduce_sum(values, axis=1), probabilities.dtype)
        return value, tf.transpose(gradients, [0, 2, 3, 1])

    @tf.custom_gradient
    def term(probabilities):
        value, by_p = xla.compiled(values_and_gradients, truth, probabilities)
        return value, lambda upstream: upstream[:, tf.newaxis, tf.newaxis, tf.newaxis] * by_p

    return term(probabilities)


def _values_and_gradients(
    truth: tf.Tensor,
    probabilities: tf.Tensor,
    region_size: int,
    epsilon: float,
    diagonal_offset: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return ½ log det(M + εI) / d `[n]` of maps `[n, H, W]`, and the gradient by the second."""
    d = region_size**2
    y = region_points(truth, region_size)
    p = region_points(probabilities, region_size)
    eye = tf.eye(d, batch_shape=[sizes(y)[0]], dtype=y.dtype)
    # With L Lᵀ = Σ_PP + εI: A = L⁻¹ Σ_PY, K = L⁻ᵀ A = (Σ_PP + εI)⁻¹ Σ_PY, M = Σ_YY − AᵀA.
    factor = tf.linalg.cholesky(_products(p, p) + epsilon * eye)
    a = tf.linalg.triangular_solve(factor, _products(p, y))
    k = tf.linalg.triangular_solve(factor, a, adjoint=True)
    m = _products(y, y) - tf.matmul(a, a, transpose_a=True)
    factor = tf.linalg.cholesky(m + epsilon * eye)
    diagonal = tf.linalg.diag_part(factor)
    values = tf.reduce_sum(tf.math.log(diagonal + diagonal_offset), axis=-1) / d
    # With L Lᵀ = M + εI and l its diagonal, the derivative of 2 Σ log(l + offset) by M is
    # G = L⁻ᵀ diag(l / (l + offset)) L⁻¹.
    inverse = tf.linalg.triangular_solve(factor, eye)
    shares = diagonal / (diagonal + diagonal_offset)
    g = tf.matmul(inverse, shares[..., tf.newaxis] * inverse, transpose_a=True)
    # Through M = Σ_YY − Σ_YP K that by P is −2 K G (Y − Kᵀ P); the values are 1 / 2d of it.
    kg = tf.matmul(k, g) / d
    by_p = tf.matmul(_products(kg, k), p) - tf.matmul(kg, y)
    by_p = _sum_of_points(by_p, sizes(probabilities), region_size)
    return values, tf.cast(by_p, probabilities.dtype)


def _sum_of_points(points: tf.Tensor, shape: list, region_size: int) -> tf.Tensor:
    """Return the adjoint of `region_points`, maps of a shape `[n, H, W]`.

    Not by a tape, which `tf.recompute_grad` stops in the forward pass.
    """
    images, height, width = shape
    rows, columns = (at_least(size - region_size + 1, 0) for size in (height, width))
    count = tf.cast(at_least(rows * columns, 1), points.dtype)
    points -= tf.reduce_sum(points, axis=-1, keepdims=True) / count
    points = tf.reshape(points, [images, region_size**2, rows, columns])

    def margins(first, size, of_region):
        return [first, at_least(size - of_region - first, 0)]

    total = tf.zeros([], points.dtype)
    for k, (i, j) in enumerate(itertools.product(range(region_size), repeat=2)):
        paddings = [[0, 0], margins(i, height, rows), margins(j, width, columns)]
        # Where an image holds no region, the padding is all there is, and may be too much.
        total += tf.pad(points[:, k], paddings)[:, :height, :width]
    return total


def _products(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return a bᵀ."""
    return tf.matmul(a, b, transpose_b=True)
