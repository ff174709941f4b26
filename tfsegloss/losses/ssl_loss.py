"""Structural similarity loss: cross-entropy weighed by how much the local structures differ."""

import math
from collections.abc import Sequence

import tensorflow as tf

from tfsegloss.core import replicas
from tfsegloss.core.checks import check_below_one, check_odd, check_positive, check_range
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.targets import Targets, one_hot
from tfsegloss.kernels.second_derivatives import with_formula
from tfsegloss.kernels.structural_similarity import difference_maps, weighted_cross_entropies
from tfsegloss.kernels.windows import gaussian, gaussian_mean, mirror
from tfsegloss.losses.base import SegmentationLoss


def structural_difference(
    y: tf.Tensor, p: tf.Tensor, *, window_size: int, sigma: float, stability: float
) -> tf.Tensor:
    """Return the difference of two maps, each standardized within a window around every pixel.

    e = |(y − μ_y + C4) / (σ_y + C4) − (p − μ_p + C4) / (σ_p + C4)|

    μ and σ are the mean and the standard deviation under a Gaussian window of sum 1.

    Args:
        y: `[B, H, W, C]`, padded by `window_size // 2` on every side.
        p: As `y`.
        window_size: Odd side; 1: e = |y − p|, where the formula would give 0.
        sigma: σ of the window > 0, in pixels.
        stability: C4 > 0.

    Returns:
        e ≥ 0, `[B, H − window_size + 1, W − window_size + 1, C]`.

    Example:

    >>> y = tf.constant([[0.0, 0, 0], [1, 0, 1], [1, 1, 1]])[tf.newaxis, ..., tf.newaxis]
    >>> e = structural_difference(y, 1 - y, window_size=3, sigma=1.5, stability=0.01)
    >>> round(float(e[0, 0, 0, 0]), 2)  # the center, of opposite structure
    2.14

    Reference: SSL (Zhao et al., 2019), Eq. 10, 14 and 15. The denominator is that of Eq. 10, not of
    Eq. 16, √(μ − μ² + C4). A window of 1 is ours.
    """
    if window_size == 1:
        return tf.abs(y - p)
    center = slice(window_size // 2, -(window_size // 2))

    def standardized(maps):
        mean = gaussian_mean(maps, window_size, sigma)
        variance = gaussian_mean(maps**2, window_size, sigma) - mean**2
        deviation = tf.sqrt(tf.maximum(variance, 0))
        return (maps[:, center, center] - mean + stability) / (deviation + stability)

    return tf.abs(standardized(y) - standardized(p))


def largest_difference(window_size: int, sigma: float, stability: float) -> float:
    """Return e_max: of a standardized 1 among zeros and a standardized 0 among ones.

    Example:

    >>> round(largest_difference(3, sigma=1.5, stability=0.01), 3)
    4.672

    Reference: SSL (Zhao et al., 2019), below Eq. 16, with the denominator of Eq. 10.
    """
    if window_size == 1:
        return 1.0
    center = gaussian(window_size, sigma)[window_size // 2] ** 2
    deviation = math.sqrt(center - center**2)
    return 2 * (1 - center) / (deviation + stability)


def structural_similarity(
    targets: Targets,
    logits: tf.Tensor,
    *,
    window_size: int = 3,
    sigma: float = 1.5,
    beta: float = 0.1,
    stability: float = 0.01,
    reweight: bool = True,
    mine: bool = True,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return pixel cross-entropies, those of hard classes weighed by difference, and their number.

    ℓ = Σ_c BCE_c,  h = Σ_c e_c f_c BCE_c,  m = Σ_c f_c,  f = 1[e > β e_max]

    e is the `structural_difference` of the truth and of σ(x), both 0 at ignored pixels, mirrored at
    the border. e and f are constants in the gradient. The loss is Σh / Σm, or Σℓ / |V|.

    This is the formula; `SSLLoss` runs `tfsegloss.kernels.structural_similarity`, which gives the
    same.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64.
        window_size: Odd side of the window, ≥ 1.
        sigma: σ of the Gaussian window > 0, in pixels.
        beta: β in [0, 1). A class is hard at a pixel where its difference exceeds this share of the
            largest possible one.
        stability: C4 > 0.
        reweight: Whether e weighs; otherwise 1.
        mine: Whether f selects; otherwise every class of every pixel counts.

    Returns:
        ℓ, h and m, each `[B, H, W]`, 0 where ignored.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[0, 1]]]), num_classes=2)
    >>> _, hard, count = structural_similarity(targets, tf.zeros([1, 1, 2, 2]))
    >>> count.numpy().tolist()
    [[[1.0, 1.0]]]

    Reference: SSL (Zhao et al., 2019), Eq. 10 to 13. The paper is silent on the border.
    """
    valid = targets.valid[..., tf.newaxis]
    x = tf.where(valid, logits, 0)
    y = one_hot(targets, x.shape[-1], x.dtype)
    p = tf.where(valid, tf.sigmoid(x), 0)
    e = _differences(y, p, window_size, sigma, stability)
    threshold = beta * largest_difference(window_size, sigma, stability)
    hard = e > threshold if mine else tf.ones_like(e, tf.bool)
    f = tf.cast(hard & valid, x.dtype)
    weights = tf.stop_gradient(e * f if reweight else f)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=x)
    losses = tf.where(valid, losses, 0)
    return tuple(tf.reduce_sum(maps, axis=-1) for maps in (losses, weights * losses, f))


def _differences(
    y: tf.Tensor, p: tf.Tensor, window_size: int, sigma: float, stability: float
) -> tf.Tensor:
    """Return e `[B, H, W, C]` of maps mirrored at the border."""
    y, p = (mirror(maps, window_size // 2) for maps in (y, p))
    return structural_difference(y, p, window_size=window_size, sigma=sigma, stability=stability)


@keras.saving.register_keras_serializable(package="tfsegloss")
class SSLLoss(SegmentationLoss):
    """Cross-entropy of sigmoids beside the one of hard pixels, weighed by structural difference.

    L = λ · Σ_V Σ_c BCE_c / |V| + (1 − λ) · Σ_V Σ_c e f BCE_c / M,  M = Σ_V Σ_c f

    λ = `weight`, V the valid pixels of the global batch, M counted over it too; the second term is
    0 where M = 0. For e and f see `structural_similarity`. `parts` returns the terms as
    "cross_entropy" and "structure"; `statistics` says what share of the classes is hard, and what
    e is.

    Args:
        window_size: Odd side of the window, ≥ 1.
        sigma: σ of the Gaussian window > 0, in pixels.
        beta: β in [0, 1).
        stability: C4 > 0.
        weight: λ in [0, 1].
        reweight: Whether e weighs the hard classes (else 1).
        mine: Whether only hard classes count (else all).
        from_logits: Whether `y_pred` holds logits (otherwise the probabilities of sigmoids).
        ignore_class: Id or ids without label; None: every pixel counts.
        reduction: As in Keras.
        name: As in Keras.

    Call:
        y_true: ids `[B, H, W]` or `[B, H, W, 1]`, or independent targets `[B, H, W, C]`.
        y_pred: `[B, H, W, C]`, C ≥ 1.
        sample_weight: None, `[B]`, or `[B, H, W]`, which multiplies the cross-entropies of both
            terms; e, f and the counts do not see it.

    Raises:
        ValueError: An option or a shape is not as above.

    Example:

    >>> loss = SSLLoss()
    >>> truth = tf.constant([[[0, 0, 1], [0, 1, 1]]])
    >>> right = tf.one_hot(truth, 2) * 6 - 3
    >>> bool(loss(truth, right) < loss(truth, -right))
    True

    Reference: SSL (Zhao et al., 2019), Eq. 10 to 17 and table 3, whose ablations are `reweight` and
    `mine`. Deviations are named in `structural_difference` and `structural_similarity`; λ weighs a
    sum over the classes, averaged over pixels, against a mean over pairs of pixel and class, by the
    letter of Eq. 1, 13 and 17. Were both means over pairs, λ = ½ would be `weight` = 1 / (C + 1)
    here, and the loss (C + 1) / 2C times as large. β = 0.01 in section 4.2.2 is a misprint of 0.10.

    It is not above `SigmoidCrossEntropy` in the trainings on CamVid of docs/training.md: 57.5 %
    mean IoU after 2400 steps, to 58.7 % (one seed).
    """

    activation = "sigmoid"

    def __init__(
        self,
        *,
        window_size: int = 3,
        sigma: float = 1.5,
        beta: float = 0.1,
        stability: float = 0.01,
        weight: float = 0.5,
        reweight: bool = True,
        mine: bool = True,
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            from_logits=from_logits, ignore_class=ignore_class, reduction=reduction, name=name
        )
        self.window_size = check_odd("window_size", window_size)
        self.sigma = check_positive("sigma", sigma)
        self.beta = check_below_one("beta", beta)
        self.stability = check_positive("stability", stability)
        self.weight = check_range("weight", weight, 0, 1)
        self.reweight = bool(reweight)
        self.mine = bool(mine)

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Return the cross-entropy and the structure term."""
        total, hard, count = self._cross_entropies(targets, logits)
        if pixel_weights is not None:
            hard *= pixel_weights
        # In float64: there may be more than 2^24 hard pairs.
        count = tf.reduce_sum(tf.cast(count, tf.float64))
        return {
            "cross_entropy": replicas.mean_over_pixels(total, targets.valid, pixel_weights),
            "structure": replicas.normalize_globally(tf.reduce_sum(hard, axis=[1, 2]), count),
        }

    def term_maps(self, targets: Targets, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return Σ_c BCE_c, the number of hard classes Σ_c f_c, and the largest difference e."""
        valid = targets.valid[..., tf.newaxis]
        y = one_hot(targets, logits.shape[-1], logits.dtype)
        p = tf.where(valid, tf.sigmoid(tf.where(valid, logits, 0)), 0)
        e = _differences(y, p, self.window_size, self.sigma, self.stability)
        difference = tf.reduce_max(tf.where(valid, e, 0), axis=-1)
        total, _, count = self._cross_entropies(targets, logits)
        return {"cross_entropy": total, "hard": tf.cast(count, tf.int32), "difference": difference}

    def term_statistics(self, targets: Targets, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the share of the hard classes, and mean, least and largest difference.

        "hard_share" is h = M / (|V| · C), "difference_mean", "difference_min" and "difference_max"
        are of e over all valid pixels and classes; NaN where no pixel is valid. With these the
        paper follows a training.

        Reference: SSL (Zhao et al., 2019), figures 3 and 4.
        """
        hard, total, least, largest = difference_maps(
            targets, logits, threshold=self._threshold, **self._window
        )
        valid = targets.valid
        hard, total = (
            tf.reduce_sum(tf.cast(tf.where(valid, values, 0), tf.float64))
            for values in (hard, total)
        )
        pixels = tf.math.count_nonzero(valid)
        pairs = tf.cast(pixels * logits.shape[-1], tf.float64)
        infinity = tf.constant(float("inf"), logits.dtype)
        found = {
            "hard_share": hard / pairs,
            "difference_mean": total / pairs,
            "difference_min": tf.reduce_min(tf.where(valid, least, infinity)),
            "difference_max": tf.reduce_max(tf.where(valid, largest, -infinity)),
        }
        found = {name: tf.cast(value, logits.dtype) for name, value in found.items()}
        return {name: tf.where(pixels > 0, v, float("nan")) for name, v in found.items()}

    @property
    def _window(self) -> dict[str, float]:
        return {
            "window_size": self.window_size,
            "sigma": self.sigma,
            "stability": self.stability,
        }

    @property
    def _threshold(self) -> float | None:
        """Return β e_max; None: every class is hard."""
        return self.beta * largest_difference(**self._window) if self.mine else None

    def _cross_entropies(
        self, targets: Targets, logits: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return what `structural_similarity` does, with this loss' options, by blocks of rows."""
        threshold = self._threshold
        options = {**self._window, "reweight": self.reweight}
        return with_formula(
            lambda x: weighted_cross_entropies(targets, x, threshold=threshold, **options),
            lambda x: structural_similarity(targets, x, beta=self.beta, mine=self.mine, **options),
        )(logits)

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return λ · cross-entropy + (1 − λ) · structure."""
        return self.weight * terms["cross_entropy"] + (1 - self.weight) * terms["structure"]
