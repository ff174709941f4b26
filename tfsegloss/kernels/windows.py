"""Windows around each pixel: Gaussian means, and sums over the neighbors of the same class.

Both come in two forms that agree: as `tf.nn.depthwise_conv2d`, and as shifted maps added up, which
XLA turns into one pass where it is ten times slower at a convolution. `gaussian_mean` takes the
form that is faster where it runs; `same_class_sum` always shifts, since it would take a convolution
for each class. All are "valid": rows and columns that a window would miss are for the caller to
pad.
"""

import itertools
import math

import tensorflow as tf

from tfsegloss.core.shapes import at_least, sizes
from tfsegloss.kernels import xla


def gaussian(size: int, sigma: float) -> list[float]:
    """The weights of a Gaussian window along one axis, of sum 1.

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
    """The D8 window: ω = 2^(1 − d), d the chessboard distance to the center.

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
    """Gaussian-weighted local means of each map, in the form that is fastest where it runs.

    Args:
        maps: `[B, H, W, C]`, padded by `size // 2` on every side.
        size: Odd side of the window.
        sigma: σ > 0, in pixels.

    Returns:
        `[B, H − size + 1, W − size + 1, C]`.

    Example:

    >>> gaussian_mean(tf.ones([3, 4, 1]), size=3, sigma=1.5).shape.as_list()
    [1, 2, 1]
    """
    mean = gaussian_mean_shifted if xla.is_compiling() else gaussian_mean_depthwise
    return mean(maps, size, sigma)


def gaussian_mean_shifted(maps: tf.Tensor, size: int, sigma: float) -> tf.Tensor:
    """`gaussian_mean` as shifted maps added up, along one axis after the other."""
    weights = gaussian(size, sigma)

    def mean(maps):
        rows, columns = (n - size + 1 for n in sizes(maps)[1:3])
        maps = tf.add_n([w * maps[:, i : i + rows] for i, w in enumerate(weights)])
        return tf.add_n([w * maps[:, :, i : i + columns] for i, w in enumerate(weights)])

    # The window is symmetric: the gradient is the same mean of the padded upstream, where a tape
    # would pad and add each shifted map.
    margins = [[0, 0], [size - 1, size - 1], [size - 1, size - 1], [0, 0]]
    return tf.custom_gradient(lambda maps: (mean(maps), lambda u: mean(tf.pad(u, margins))))(maps)


def gaussian_mean_depthwise(maps: tf.Tensor, size: int, sigma: float) -> tf.Tensor:
    """`gaussian_mean` as two depthwise convolutions."""
    weights = tf.constant(gaussian(size, sigma), maps.dtype)
    weights = tf.tile(weights[:, tf.newaxis, tf.newaxis], [1, maps.shape[-1], 1])
    maps = tf.nn.depthwise_conv2d(maps, weights[:, tf.newaxis], [1, 1, 1, 1], "VALID")
    return tf.nn.depthwise_conv2d(maps, weights[tf.newaxis], [1, 1, 1, 1], "VALID")


def same_class_sum(maps: tf.Tensor, ids: tf.Tensor, size: int) -> tf.Tensor:
    """Σ_{j: y_j = y_i} ω(d(i, j)) z_j over the D8 window of each pixel i, as shifted maps.

    Args:
        maps: z, `[B, H, W, C]`, padded by `size // 2` on every side.
        ids: y, `[B, H, W]`, padded alike, with ids of no class; pixels of a negative id give 0.
        size: Odd side of the window.

    Returns:
        `[B, H − size + 1, W − size + 1, C]`.

    Example:

    >>> ids = tf.constant([[-1, -1, -1, -1], [-1, 0, 0, -1], [-1, -1, -1, -1]])
    >>> same_class_sum(tf.ones([3, 4, 1]), ids, size=3)[..., 0].numpy().tolist()
    [[3.0, 3.0]]

    Reference: LAD (Guo et al., 2018), Eq. 2, before the division.
    """
    weights = itertools.chain.from_iterable(chessboard(size))
    terms = [
        # ω as √ω²: XLA computes a root once for each pixel, a comparison again for each class.
        tf.sqrt(tf.where(same, tf.constant(weight**2, maps.dtype), 0))[..., tf.newaxis] * shifted
        for same, weight, shifted in zip(
            _same_class(ids, size), weights, _shifts(maps, size), strict=True
        )
    ]
    return tf.add_n(terms)


def same_class_sum_depthwise(
    maps: tf.Tensor, ids: tf.Tensor, size: int, num_classes: int
) -> tf.Tensor:
    """`same_class_sum` of ids below `classes`, as one depthwise convolution for each class.

    Faster than `same_class_sum` for large windows and few classes only.

    Args:
        maps: As for `same_class_sum`.
        ids: As for `same_class_sum`.
        size: As for `same_class_sum`.
        num_classes: Above all ids.

    Returns:
        As `same_class_sum`.

    Example:

    >>> ids = tf.constant([[-1, -1, -1, -1], [-1, 0, 0, -1], [-1, -1, -1, -1]])
    >>> sums = same_class_sum_depthwise(tf.ones([3, 4, 1]), ids, size=3, num_classes=1)
    >>> sums[..., 0].numpy().tolist()
    [[3.0, 3.0]]
    """
    weights = tf.tile(
        tf.constant(chessboard(size), maps.dtype)[..., tf.newaxis, tf.newaxis],
        [1, 1, maps.shape[-1], 1],
    )
    margin = size // 2
    center = ids[margin : sizes(ids)[0] - margin, margin : sizes(ids)[1] - margin]
    total = 0.0
    for c in range(num_classes):
        of_class = tf.where((ids == c)[..., tf.newaxis], maps, 0)[tf.newaxis]
        sums = tf.nn.depthwise_conv2d(of_class, weights, [1, 1, 1, 1], "VALID")[0]
        total += tf.where((center == c)[..., tf.newaxis], sums, 0)
    return total


def same_class_count(ids: tf.Tensor, size: int) -> tf.Tensor:
    """ξ_i: how many pixels j in the window of each pixel i have y_j = y_i, itself included.

    Args:
        ids: As for `same_class_sum`.
        size: Odd side of the window.

    Returns:
        int32 `[B, H − size + 1, W − size + 1]`; 0 where the id is negative.

    Example:

    >>> ids = tf.constant([[-1, -1, -1, -1], [-1, 0, 0, -1], [-1, -1, -1, -1]])
    >>> same_class_count(ids, size=3).numpy().tolist()
    [[2, 2]]
    """
    return tf.add_n([tf.cast(same, tf.int32) for same in _same_class(ids, size)])


def _same_class(ids: tf.Tensor, size: int) -> list[tf.Tensor]:
    """For each offset in the window, which pixels have the id of their neighbor there."""
    shifted = _shifts(ids, size)
    center = shifted[len(shifted) // 2]
    return [(neighbor == center) & (center >= 0) for neighbor in shifted]


def _shifts(maps: tf.Tensor, size: int) -> list[tf.Tensor]:
    """The `size`² views of the map that line up with the centers of the windows."""
    rows, columns = (n - size + 1 for n in sizes(maps)[1:3])
    return [
        maps[:, i : i + rows, j : j + columns] for i, j in itertools.product(range(size), repeat=2)
    ]


def mirrored(index: int | tf.Tensor, size: int | tf.Tensor) -> int | tf.Tensor:
    """Where an index beyond the first or the last is, as often mirrored there as it takes.

    Example:

    >>> [mirrored(i, 3) for i in range(-2, 6)]
    [2, 1, 0, 1, 2, 1, 0, 1]
    """
    period = at_least(2 * (size - 1), 1)
    return size - 1 - abs(index % period - (size - 1))


def mirror_columns(maps: tf.Tensor, margin: int) -> tf.Tensor:
    """Maps `[B, H, W, …]` mirrored at their first and their last column."""
    width = sizes(maps)[2]
    columns = [*range(-margin, 0), *(width + i for i in range(margin))]
    columns = [mirrored(column, width) for column in columns]
    strips = [maps[:, :, column : column + 1] for column in columns]
    return tf.concat([*strips[:margin], maps, *strips[margin:]], axis=2)


def edge_counts(valid: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """e `[B, H, W]`: 1, at the first and last rows and columns 2, at the corners 4.

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
