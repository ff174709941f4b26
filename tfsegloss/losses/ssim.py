"""Structural similarity index as a loss."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from tfsegloss.core import replicas
from tfsegloss.core.checks import check_choice, check_odd, check_positive, check_range
from tfsegloss.core.shapes import sizes
from tfsegloss.core.targets import Targets, zero_ignored
from tfsegloss.kernels import sigmoid_maps, windows, xla
from tfsegloss.kernels.row_blocks import inner_rows, map_row_blocks, sum_over_classes
from tfsegloss.kernels.sigmoid_maps import cross_entropies, truth_and_probabilities
from tfsegloss.kernels.windows import edge_counts, mirror_columns
from tfsegloss.losses.base import SegmentationLoss

FORMS = ("full", "contrast_structure")
# (0.01 · range)² and (0.03 · range)² for maps in [0, 1], as in SSIM's own paper.
C1 = 1e-4
C2 = 9e-4


class _Statistics(NamedTuple):
    """Gaussian-weighted local means `[H, W, C]`."""

    y: tf.Tensor
    p: tf.Tensor
    squares: tf.Tensor  # of y² + p²
    product: tf.Tensor  # of y p


def dissimilarity(
    y: tf.Tensor, p: tf.Tensor, *, form: str, window_size: int, sigma: float
) -> tf.Tensor:
    """1 − SSIM of two maps around every pixel, or 1 − its contrast-structure factor.

    "full":               1 − S1·S2,  S1 = (2 μ_y μ_p + C1) / (μ_y² + μ_p² + C1)
    "contrast_structure": 1 − S2,     S2 = (2 σ_yp + C2) / (σ_y² + σ_p² + C2)

    μ, σ² and σ_yp are the means, variances and covariance under a Gaussian window of sum 1
    (population statistics), C1 = 1e-4, C2 = 9e-4.

    Args:
        y: `[H, W, C]` in [0, 1], padded by `window_size // 2` on every side.
        p: As `y`.
        form: "full" or "contrast_structure".
        window_size: Odd side of the window.
        sigma: σ of the window > 0, in pixels.

    Returns:
        `[H − window_size + 1, W − window_size + 1, C]`, in [0, 2].

    Example:

    >>> y = tf.reshape(tf.range(9.0) / 9, [3, 3, 1])
    >>> abs(float(dissimilarity(y, y, form="full", window_size=3, sigma=1.5)[0, 0, 0])) < 1e-4
    True

    Reference: SSL (Zhao et al., 2019), Eq. 6, 7 and 9. Eq. 9 is applied to the local statistics,
    and with those of the population: its N − 1 belongs to an unweighted window. The constants are
    not in that paper.
    """
    return 1 - _similarity(_statistics(y, p, window_size, sigma), form, 1.0)[0]


def _statistics(y: tf.Tensor, p: tf.Tensor, size: int, sigma: float) -> _Statistics:
    maps = (y, p, y * y + p * p, y * p)
    return _Statistics(*(windows.fast_gaussian_mean(m, size, sigma) for m in maps))


def _similarity(
    of: _Statistics, form: str, weights: tf.Tensor | float
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """SSIM or its contrast-structure factor, and its slopes by μ_p, E[y² + p²] and E[y p].

    The slopes are times the weights, and quotients as far as can be: XLA computes a quotient once,
    a product again for each window that holds it.
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


def cross_entropy_and_dissimilarity(
    targets: Targets, logits: tf.Tensor, *, form: str, window_size: int, sigma: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cross-entropy of the sigmoids at each pixel, and the dissimilarity summed over each image.

    ℓ = Σ_c BCE_c,  d = Σ_V Σ_c dissimilarity(y_c, σ(x_c)) / C

    Truth and prediction are 0 at ignored pixels and mirrored at the border.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64.
        form: As for `dissimilarity`.
        window_size: As for `dissimilarity`.
        sigma: As for `dissimilarity`.

    Returns:
        ℓ `[B, H, W]`, 0 where ignored, and d `[B]`.
    """

    def backward(x, targets, maps, of_losses, of_different):
        slopes = sigmoid_maps.slopes(x, targets, of_losses[..., tf.newaxis])
        return slopes + of_different[:, tf.newaxis, tf.newaxis, tf.newaxis] * maps[..., 2:]

    @tf.custom_gradient
    def losses(x):
        maps = _maps(targets, x, form=form, window_size=window_size, sigma=sigma)
        values = maps[..., 0], tf.reduce_sum(maps[..., 1], axis=[1, 2])
        return values, lambda *upstream: xla.compiled(backward, x, targets, maps, *upstream)

    return losses(logits)


def _maps(
    targets: Targets, logits: tf.Tensor, *, form: str, window_size: int, sigma: float
) -> tf.Tensor:
    """ℓ, the dissimilarity, and the slopes of its sum over the image, as maps `[B, H, W, 2 + C]`.

    The slopes are computed with the value, while the statistics are in the cache.
    """
    margin = window_size // 2
    num_classes = logits.shape[-1]

    def mean(maps):
        return windows.fast_gaussian_mean(maps, window_size, sigma)

    def of_block(x, block, edges):
        y, p = truth_and_probabilities(x, block)
        padded = (mirror_columns(maps, 2 * margin) for maps in (y, p))
        statistics = _statistics(*padded, window_size, sigma)
        edges = zero_ignored(edges, block.valid)
        weights = mirror_columns(inner_rows(edges, margin), margin)[..., tf.newaxis]
        similarity, by = _similarity(statistics, form, weights)
        # Of all windows that hold an inner pixel: the adjoint of their means, see `edge_counts`.
        by_p, by_squares, by_product = map(mean, by)
        similarity = inner_rows(similarity, margin)[:, :, margin : margin + sizes(x)[2]]
        x, y, p, edges, valid = (inner_rows(m, 2 * margin) for m in (x, y, p, edges, block.valid))
        # ∂p/∂x = p (1 − p), 0 where ignored.
        slope = (by_p + 2 * p * by_squares + y * by_product) * p * (p - 1)
        slope = (slope / (tf.maximum(edges, 1) * num_classes)[..., tf.newaxis])[..., :num_classes]
        losses = sum_over_classes(cross_entropies(x, y, p, valid), num_classes)
        different = 1 - sum_over_classes(similarity, num_classes) / num_classes
        maps = [zero_ignored(m, valid) for m in (losses, different)]
        return tf.concat([tf.stack(maps, axis=-1), slope], axis=-1)

    edges = edge_counts(targets.valid, logits.dtype)
    return map_row_blocks(
        of_block, logits, targets, edges, margin=2 * margin, reflect=True, write_later=True
    )


@keras.saving.register_keras_serializable(package="tfsegloss")
class SSIMLoss(SegmentationLoss):
    """Structural dissimilarity of truth and prediction beside the cross-entropy of sigmoids.

    L = λ · Σ_V Σ_c BCE_c / |V| + (1 − λ) · Σ_V Σ_c dissimilarity(y_c, σ(x_c)) / (|V| · C)

    λ = `weight`, V the valid pixels of the global batch; see `dissimilarity`. Truth and prediction
    are 0 at ignored pixels and mirrored at the border. `parts` returns the terms as
    "cross_entropy" and "dissimilarity".

    Args:
        form: "full" or "contrast_structure".
        window_size: Odd side of the window, ≥ 1.
        sigma: σ of the Gaussian window > 0, in pixels.
        weight: λ in [0, 1].
        from_logits: Whether `y_pred` holds logits (otherwise the probabilities of sigmoids).
        ignore_class: Id or ids without label; None: every pixel counts.
        reduction: As in Keras.
        name: As in Keras.

    Call:
        y_true: ids `[B, H, W]` or `[B, H, W, 1]`, or independent targets `[B, H, W, C]`.
        y_pred: `[B, H, W, C]`, C ≥ 1.
        sample_weight: None, `[B]`, or `[B, H, W]`, which the cross-entropy alone sees.

    Raises:
        ValueError: An option or a shape is not as above.

    Example:

    >>> loss = SSIMLoss()
    >>> truth = tf.constant([[[0, 0, 1], [0, 1, 1]]])
    >>> right = tf.one_hot(truth, 2) * 6 - 3
    >>> bool(loss(truth, right) < loss(truth, -right))
    True

    Reference: SSL (Zhao et al., 2019), Eq. 7 and 9, which its table 2 compares with. The mixture
    with the cross-entropy, the border and the constants are not in the paper.
    """

    activation = "sigmoid"

    def __init__(
        self,
        *,
        form: str = "full",
        window_size: int = 3,
        sigma: float = 1.5,
        weight: float = 0.5,
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            from_logits=from_logits, ignore_class=ignore_class, reduction=reduction, name=name
        )
        self.form = check_choice("form", form, FORMS)
        self.window_size = check_odd("window_size", window_size)
        self.sigma = check_positive("sigma", sigma)
        self.weight = check_range("weight", weight, 0, 1)

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """The cross-entropy and the dissimilarity."""
        losses, different = cross_entropy_and_dissimilarity(targets, logits, **self._options())
        valid = tf.math.count_nonzero(targets.valid)
        return {
            "cross_entropy": replicas.mean_over_pixels(losses, targets.valid, pixel_weights),
            "dissimilarity": replicas.normalize_globally(different, valid),
        }

    def term_maps(self, targets: Targets, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """Σ_c BCE_c, and the dissimilarity, averaged over the classes."""
        maps = _maps(targets, logits, **self._options())
        return {"cross_entropy": maps[..., 0], "dissimilarity": maps[..., 1]}

    def _options(self) -> dict:
        return {"form": self.form, "window_size": self.window_size, "sigma": self.sigma}

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """λ · cross-entropy + (1 − λ) · dissimilarity."""
        return self.weight * terms["cross_entropy"] + (1 - self.weight) * terms["dissimilarity"]
