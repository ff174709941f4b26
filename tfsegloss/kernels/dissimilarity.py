"""SSIM's terms and their gradient, a block of rows at a time.

The formula is in `tfsegloss.losses.ssim`.
"""

from typing import NamedTuple

import tensorflow as tf

from tfsegloss.core.shapes import sizes
from tfsegloss.core.targets import Targets, zero_ignored
from tfsegloss.kernels import windows, xla
from tfsegloss.kernels.class_sums import sum_over_classes
from tfsegloss.kernels.row_blocks import inner_rows, map_row_blocks
from tfsegloss.kernels.sigmoid_maps import (
    cross_entropies,
    cross_entropy_gradient,
    truth_and_probabilities,
)

# (0.01 · range)² and (0.03 · range)² for maps in [0, 1], as in SSIM's own paper.
C1 = 1e-4
C2 = 9e-4


def cross_entropy_and_dissimilarity(
    targets: Targets, logits: tf.Tensor, *, form: str, window_size: int, sigma: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the cross-entropy at each pixel, and the dissimilarity summed over each image.

    Of the same arguments `tfsegloss.losses.ssim.cross_entropy_and_dissimilarity` returns both at
    each pixel.

    Returns:
        ℓ `[B, H, W]`, 0 where ignored, and Σ d `[B]`.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[0, 1, 255]]]), num_classes=2)
    >>> options = {"form": "full", "window_size": 3, "sigma": 1.5}
    >>> losses, d = cross_entropy_and_dissimilarity(targets, tf.zeros([1, 1, 3, 2]), **options)
    >>> losses.shape.as_list(), d.shape.as_list()
    ([1, 1, 3], [1])
    """

    def backward(x, targets, maps, by_losses, by_different):
        gradient = cross_entropy_gradient(x, targets, by_losses[..., tf.newaxis])
        return gradient + by_different[:, tf.newaxis, tf.newaxis, tf.newaxis] * maps[..., 2:]

    # The gradient of Σ d is computed with the value, while the statistics are in the cache.
    @tf.custom_gradient
    def losses(x):
        def of_block(x, block, edges):
            return _maps_of_block(x, block, edges, form, window_size, sigma)

        edges = windows.edge_counts(targets.valid, x.dtype)
        margin = 2 * (window_size // 2)
        maps = map_row_blocks(
            of_block, x, targets, edges, margin=margin, reflect=True, write_later=True
        )
        values = maps[..., 0], tf.reduce_sum(maps[..., 1], axis=[1, 2])
        return values, lambda *upstream: xla.compiled(backward, x, targets, maps, *upstream)

    return losses(logits)


class _Statistics(NamedTuple):
    """Gaussian-weighted local means `[N, H, W, C]`."""

    y: tf.Tensor
    p: tf.Tensor
    squares: tf.Tensor  # of y² + p²
    product: tf.Tensor  # of y p


def _maps_of_block(
    x: tf.Tensor, block: Targets, edges: tf.Tensor, form: str, window_size: int, sigma: float
) -> tf.Tensor:
    """Return ℓ, d and the gradient of the image's Σ d by x, as maps `[N, rows, W, 2 + C]`.

    Args:
        x: Logits `[N, rows + 4 (window_size // 2), W, C]`.
        block: Targets of the same rows.
        edges: `windows.edge_counts` of the same rows.
        form: As for the loss.
        window_size: As for the loss.
        sigma: As for the loss.
    """
    num_classes, margin = x.shape[-1], window_size // 2

    def mean(maps):
        return windows.fast_gaussian_mean(maps, window_size, sigma)

    y, p = truth_and_probabilities(x, block)
    wide_y, wide_p = (windows.mirror_columns(maps, 2 * margin) for maps in (y, p))
    statistics = _Statistics(
        *map(mean, (wide_y, wide_p, wide_y * wide_y + wide_p * wide_p, wide_y * wide_p))
    )
    edges = zero_ignored(edges, block.valid)
    weights = windows.mirror_columns(inner_rows(edges, margin), margin)[..., tf.newaxis]
    similarity, gradients = _similarity(statistics, form, weights)
    # Of all windows that hold an inner pixel: the adjoint of their means, see `edge_counts`.
    by_mean, by_squares, by_product = map(mean, gradients)
    similarity = inner_rows(similarity, margin)[:, :, margin : margin + sizes(x)[2]]
    x, y, p, edges, valid = (inner_rows(m, 2 * margin) for m in (x, y, p, edges, block.valid))
    # ∂p/∂x = p (1 − p), 0 where ignored.
    by_x = (by_mean + 2 * p * by_squares + y * by_product) * p * (p - 1)
    by_x = (by_x / (tf.maximum(edges, 1) * num_classes)[..., tf.newaxis])[..., :num_classes]
    losses = sum_over_classes(cross_entropies(x, y, p, valid), num_classes)
    different = 1 - sum_over_classes(similarity, num_classes) / num_classes
    maps = [zero_ignored(m, valid) for m in (losses, different)]
    return tf.concat([tf.stack(maps, axis=-1), by_x], axis=-1)


def _similarity(
    of: _Statistics, form: str, weights: tf.Tensor
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return SSIM or its contrast-structure factor, with its gradients by three statistics.

    They are those by μ_p, E[y² + p²] and E[y p], times the weights, and quotients at last: XLA
    computes a quotient once, a product again for each window that holds it. SSIM takes 1.8 × Keras'
    cross-entropy with them, 2.4 with products, on [2, 513, 513, 21], two cores.
    """
    spread = of.squares - of.y**2 - of.p**2 + C2
    structure = (2 * (of.product - of.y * of.p) + C2) / spread
    share = weights / spread
    if form == "contrast_structure":
        by_p = 2 * weights * (structure * of.p - of.y) / spread
        return structure, [by_p, -structure * share, 2 * share]
    level = of.y**2 + of.p**2 + C1
    likeness = 2 * of.y * of.p + C1
    luminance = likeness / level
    by_p = weights * structure * (of.y - luminance * of.p)
    by_p += share * likeness * (structure * of.p - of.y)
    by_squares = -structure * share * likeness
    by_product = 2 * share * likeness
    return luminance * structure, [2 * by_p / level, by_squares / level, by_product / level]
