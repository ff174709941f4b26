"""Windows around each pixel: Gaussian means, sums over the neighbors of the same class, mirrors.

The sums and means are shifted maps added up, which XLA turns into one pass where it is ten times
slower at a convolution. As `tf.nn.depthwise_conv2d` the Gaussian mean is here too, and the sum over
neighbors in `tfsegloss.losses.lad`. All are "valid": rows and columns that a window would miss are
for the caller to pad.
"""

import itertools
import math

import tensorflow as tf

from tfsegloss.core.shapes import at_least, sizes
from tfsegloss.kernels import xla


def gaussian(size: int, sigma: float) -> list[float]:
    """Return the weights of a Gaussian window along one axis, of sum 1.

    w_i ∝ exp(−i² / 2σ²),  i = −⌊size/2⌋ … ⌊size/2⌋

    Args:
        size: Odd number of pixels.
        sigma: σ > 0, in pixels.

    Returns:
        `size` numbers.

    Example:

    >>> [round(w, 4) for w in gaussian(3, sigma=1.5)]
    [0.3078, 0.3844, 0.3078]

    Reference: SSL (Zhao et al., 2019), section 3.3, after SSIM (Wang et al., 2004).
    """
    weights = [math.exp(-((i - size // 2) ** 2) / (2 * sigma**2)) for i in range(size)]
    return [w / sum(weights) for w in weights]


def chessboard(size: int) -> list[list[float]]:
    """Return the D8 window: ω = 2^(1 − d), d the chessboard distance to the center.

    Args:
        size: Odd number of pixels.

    Returns:
        `size` rows of `size` numbers.

    Example:

    >>> chessboard(3)
    [[1.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 1.0]]

    Reference: LAD (Guo et al., 2018), section 3.2: 2 for the center, 1 for D8 = 1,
    ½ for D8 = 2, and so on.
    """
    reach = range(-(size // 2), size // 2 + 1)
    return [[2.0 ** (1 - max(abs(i), abs(j))) for j in reach] for i in reach]


def gaussian_mean(maps: tf.Tensor, size: int, sigma: float) -> tf.Tensor:
    """Return Gaussian-weighted local means of each map, as two depthwise convolutions.

    Args:
        maps: `[B, H, W, C]`, padded by `size // 2` on every side.
        size: Odd side of the window.
        sigma: σ > 0, in pixels.

    Returns:
        `[B, H − size + 1, W − size + 1, C]`.

    Example:

    >>> gaussian_mean(tf.ones([1, 3, 4, 1]), size=3, sigma=1.5).shape.as_list()
    [1, 1, 2, 1]
    """
    weights = tf.constant(gaussian(size, sigma), maps.dtype)
    weights = tf.tile(weights[:, tf.newaxis, tf.newaxis], [1, maps.shape[-1], 1])
    maps = tf.nn.depthwise_conv2d(maps, weights[:, tf.newaxis], [1, 1, 1, 1], "VALID")
    return tf.nn.depthwise_conv2d(maps, weights[tf.newaxis], [1, 1, 1, 1], "VALID")


def fast_gaussian_mean(maps: tf.Tensor, size: int, sigma: float) -> tf.Tensor:
    """Return what `gaussian_mean` does, inside of a cluster as shifted maps added up."""
    if not xla.is_compiling():
        return gaussian_mean(maps, size, sigma)
    weights = gaussian(size, sigma)
    rows, columns = (n - size + 1 for n in sizes(maps)[1:3])
    maps = tf.add_n([w * maps[:, i : i + rows] for i, w in enumerate(weights)])
    return tf.add_n([w * maps[:, :, i : i + columns] for i, w in enumerate(weights)])


def same_class_weights(ids: tf.Tensor, size: int, dtype: tf.DType) -> tf.Tensor:
    """Return ω(d(i, j)) where y_j = y_i, else 0, for each pixel i and each j of its D8 window.

    Args:
        ids: y, `[B, H, W]`, padded by `size // 2` on every side with ids of no class; pixels of a
            negative id are of no class.
        size: Odd side of the window.
        dtype: Type of the weights.

    Returns:
        `[size², B, H − size + 1, W − size + 1]`, the window row by row.

    Example:

    >>> ids = tf.constant([[[-1, -1, -1, -1], [-1, 0, 0, -1], [-1, -1, -1, -1]]])
    >>> same_class_weights(ids, size=3, dtype=tf.float32)[:, 0, 0, 0].numpy().tolist()
    [0.0, 0.0, 0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0]

    Reference: LAD (Guo et al., 2018), Eq. 2.
    """
    weights = tf.constant(list(itertools.chain.from_iterable(chessboard(size))), dtype)
    batch, rows, columns = (n - m for n, m in zip(sizes(ids), (0, size - 1, size - 1), strict=True))

    def neighbors(k):
        return tf.slice(ids, [0, k // size, k % size], [batch, rows, columns])

    center = neighbors(size**2 // 2)

    def weigh(k):
        same = (neighbors(k) == center) & (center >= 0)
        return tf.where(same, weights[k], 0)

    if xla.is_compiling():
        # One place of the window after the other: an operation for each runs no faster, and LAD
        # takes 4.3 s to compile with it, 2.1 without, with a window of 5.
        return tf.map_fn(weigh, tf.range(size**2), fn_output_signature=dtype)
    return tf.stack([weigh(k) for k in range(size**2)])


def same_class_count(weights: tf.Tensor) -> tf.Tensor:
    """Return ξ_i: how many pixels j in the window of each pixel i have y_j = y_i, itself included.

    Args:
        weights: Of `same_class_weights`.

    Returns:
        `[B, H − size + 1, W − size + 1]` in the weights' type; 0 where the id is negative.

    Example:

    >>> ids = tf.constant([[[-1, -1, -1, -1], [-1, 0, 0, -1], [-1, -1, -1, -1]]])
    >>> same_class_count(same_class_weights(ids, 3, tf.float32)).numpy().tolist()
    [[[2.0, 2.0]]]
    """
    return tf.reduce_sum(tf.cast(weights > 0, weights.dtype), axis=0)


def weighted_sum(maps: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return Σ_j w_ij z_j over the window of each pixel i.

    Args:
        maps: z, `[B, H, W, C]`, padded by `size // 2` on every side.
        weights: w, `[size², B, H − size + 1, W − size + 1]`.

    Returns:
        `[B, H − size + 1, W − size + 1, C]`.

    Example:

    >>> ids = tf.constant([[[-1, -1, -1, -1], [-1, 0, 0, -1], [-1, -1, -1, -1]]])
    >>> weights = same_class_weights(ids, 3, tf.float32)
    >>> weighted_sum(tf.ones([1, 3, 4, 1]), weights)[..., 0].numpy().tolist()
    [[[3.0, 3.0]]]

    Reference: LAD (Guo et al., 2018), Eq. 2, before the division.
    """
    if xla.is_compiling() and xla.planned_device() == "GPU":
        return _weighted_sum_by_rows(maps, weights)
    size = math.isqrt(weights.shape[0])
    rows, columns = sizes(weights)[2:]
    places = itertools.product(range(size), repeat=2)
    # Taken apart first: TensorFlow's optimizer forgets the new axis of a slice out of a stack.
    return tf.add_n(
        [
            w[..., tf.newaxis] * maps[:, i : i + rows, j : j + columns]
            for w, (i, j) in zip(tf.unstack(weights), places, strict=True)
        ]
    )


def _weighted_sum_by_rows(maps: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return `weighted_sum`, one row of the window after the other, as a GPU likes it.

    All 25 places of a window at once did not compile in 100 s for an H200. A row takes 7.8 ms for
    LAD on [8, 513, 513, 21], one place after the other 22 ms, blocks for a CPU 41 ms.
    """
    size = math.isqrt(weights.shape[0])
    batch, rows, columns = sizes(weights)[1:]

    def add_row(i, total):
        line = tf.slice(maps, [0, i, 0, 0], [batch, rows, -1, -1])
        line_weights = tf.slice(weights, [size * i, 0, 0, 0], [size, -1, -1, -1])
        terms = [
            w[..., tf.newaxis] * line[:, :, j : j + columns]
            for j, w in enumerate(tf.unstack(line_weights))
        ]
        return i + 1, total + tf.add_n(terms)

    total = tf.zeros([batch, rows, columns, maps.shape[-1]], maps.dtype)
    return tf.while_loop(lambda i, _: i < size, add_row, (0, total))[1]


def mirrored(index: int | tf.Tensor, size: int | tf.Tensor) -> int | tf.Tensor:
    """Return where an index beyond the first or the last is, as often mirrored there as it takes.

    Example:

    >>> [mirrored(i, 3) for i in range(-2, 6)]
    [2, 1, 0, 1, 2, 1, 0, 1]
    """
    period = at_least(2 * (size - 1), 1)
    return size - 1 - abs(index % period - (size - 1))


def mirror(maps: tf.Tensor, margin: int) -> tf.Tensor:
    """Return maps `[B, H, W, …]` with `margin` mirrored pixels on every side, however small.

    Example:

    >>> mirror(tf.constant([[[1.0, 2.0, 3.0]]]), 1)[0].numpy().tolist()[1]
    [2.0, 1.0, 2.0, 3.0, 2.0]
    """
    for axis in (1, 2):
        size = sizes(maps)[axis]
        index = mirrored(tf.range(size + 2 * margin) - margin, size)
        maps = tf.gather(maps, index, axis=axis)
    return maps


def mirror_columns(maps: tf.Tensor, margin: int) -> tf.Tensor:
    """Return maps `[B, H, W, …]` mirrored at their first and their last column, as `mirror` does.

    As strips beside the maps SSL takes 1.45 × Keras' cross-entropy, and gathered 1.6, on
    [2, 513, 513, 21], two cores.
    """
    width = sizes(maps)[2]
    columns = [*range(-margin, 0), *(width + i for i in range(margin))]
    columns = [mirrored(column, width) for column in columns]
    strips = [maps[:, :, column : column + 1] for column in columns]
    return tf.concat([*strips[:margin], maps, *strips[margin:]], axis=2)


def edge_counts(valid: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Return e `[B, H, W]`: 1, at the first and last rows and columns 2, at the corners 4.

    With it the adjoint of a mean m over mirrored symmetric windows is a mean again: m(e·u) / e.
    A window of pixel i holds pixel j once for each of its mirror images, of which one on the
    border has half as many.
    """
    edges = tf.ones_like(valid, dtype)
    for axis in (1, 2):
        size = sizes(valid)[axis]
        index = tf.range(size)
        count = tf.where((index == 0) | (index == size - 1), 2, 1)
        edges *= tf.cast(tf.reshape(count, [-1, 1] if axis == 1 else [-1]), dtype)
    return edges
