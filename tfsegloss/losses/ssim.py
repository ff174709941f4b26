"""Structural similarity index as a loss."""

from collections.abc import Sequence

import tensorflow as tf

from tfsegloss.core import replicas
from tfsegloss.core.checks import check_choice, check_odd, check_positive, check_range
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.targets import Targets, one_hot
from tfsegloss.kernels import dissimilarity as kernel
from tfsegloss.kernels.dissimilarity import C1, C2
from tfsegloss.kernels.second_derivatives import with_formula
from tfsegloss.kernels.windows import gaussian_mean, mirror
from tfsegloss.losses.base import SegmentationLoss

FORMS = ("full", "contrast_structure")


def dissimilarity(
    y: tf.Tensor, p: tf.Tensor, *, form: str, window_size: int, sigma: float
) -> tf.Tensor:
    """Return 1 − SSIM of two maps around every pixel, or 1 − its contrast-structure factor.

    "full":               1 − S1·S2,  S1 = (2 μ_y μ_p + C1) / (μ_y² + μ_p² + C1)
    "contrast_structure": 1 − S2,     S2 = (2 σ_yp + C2) / (σ_y² + σ_p² + C2)

    μ, σ² and σ_yp are the means, variances and covariance under a Gaussian window of sum 1
    (population statistics), C1 = 1e-4, C2 = 9e-4.

    Args:
        y: `[B, H, W, C]` in [0, 1], padded by `window_size // 2` on every side.
        p: As `y`.
        form: "full" or "contrast_structure".
        window_size: Odd side of the window.
        sigma: σ of the window > 0, in pixels.

    Returns:
        `[B, H − window_size + 1, W − window_size + 1, C]`, in [0, 2].

    Example:

    >>> y = tf.reshape(tf.range(9.0) / 9, [1, 3, 3, 1])
    >>> d = dissimilarity(y, y, form="full", window_size=3, sigma=1.5)
    >>> d.shape.as_list(), abs(float(d[0, 0, 0, 0])) < 1e-4
    ([1, 1, 1, 1], True)

    Reference: SSL (Zhao et al., 2019), Eq. 6, 7 and 9. Eq. 9 is applied to the local statistics,
    and with those of the population: its N − 1 belongs to an unweighted window. The constants are
    not in that paper.
    """

    def mean(maps):
        return gaussian_mean(maps, window_size, sigma)

    mean_y, mean_p = mean(y), mean(p)
    variances = mean(y**2) - mean_y**2 + mean(p**2) - mean_p**2
    similarity = (2 * (mean(y * p) - mean_y * mean_p) + C2) / (variances + C2)
    if form == "full":
        similarity *= (2 * mean_y * mean_p + C1) / (mean_y**2 + mean_p**2 + C1)
    return 1 - similarity


def cross_entropy_and_dissimilarity(
    targets: Targets, logits: tf.Tensor, *, form: str, window_size: int, sigma: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the cross-entropy of the sigmoids and the dissimilarity around each pixel.

    ℓ = Σ_c BCE_c,  d = Σ_c dissimilarity(y_c, σ(x_c)) / C

    Truth and prediction are 0 at ignored pixels and mirrored at the border.

    This is the formula; `SSIMLoss` runs `tfsegloss.kernels.dissimilarity`, which gives the same.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64.
        form: As for `dissimilarity`.
        window_size: As for `dissimilarity`.
        sigma: As for `dissimilarity`.

    Returns:
        ℓ and d, both `[B, H, W]`, 0 where ignored.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[0, 1, 255]]]), num_classes=2)
    >>> options = {"form": "full", "window_size": 3, "sigma": 1.5}
    >>> losses, d = cross_entropy_and_dissimilarity(targets, tf.zeros([1, 1, 3, 2]), **options)
    >>> float(losses[0, 0, 2]), float(d[0, 0, 2])
    (0.0, 0.0)
    """
    valid = targets.valid[..., tf.newaxis]
    x = tf.where(valid, logits, 0)
    y = one_hot(targets, x.shape[-1], x.dtype)
    p = tf.where(valid, tf.sigmoid(x), 0)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=x)
    y, p = (mirror(maps, window_size // 2) for maps in (y, p))
    different = dissimilarity(y, p, form=form, window_size=window_size, sigma=sigma)
    different /= x.shape[-1]
    return tuple(tf.reduce_sum(tf.where(valid, m, 0), axis=-1) for m in (losses, different))


@keras.saving.register_keras_serializable(package="tfsegloss")
class SSIMLoss(SegmentationLoss):
    """Structural dissimilarity of truth and prediction beside the cross-entropy of sigmoids.

    L = λ · Σ_V Σ_c BCE_c / |V| + (1 − λ) · Σ_V Σ_c dissimilarity(y_c, σ(x_c)) / (|V| · C)

    λ = `weight`, V the valid pixels of the global batch; see `dissimilarity`. Truth and prediction
    are 0 at ignored pixels and mirrored at the border. `parts` returns the terms as
    "cross_entropy" and "dissimilarity".

    Args:
        form: "full" or "contrast_structure".
        window_size: Odd side of the window, ≥ 1; ≥ 3 for "contrast_structure", since one pixel has
            neither contrast nor structure.
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
        if self.form == "contrast_structure" and self.window_size == 1:
            raise ValueError(
                '`window_size` must be at least 3 with form="contrast_structure", which is a '
                "constant for one pixel. Received: window_size=1"
            )
        self.sigma = check_positive("sigma", sigma)
        self.weight = check_range("weight", weight, 0, 1)

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Return the cross-entropy and the dissimilarity."""
        losses, different = with_formula(
            lambda x: kernel.cross_entropy_and_dissimilarity(targets, x, **self._options()),
            lambda x: self._formula(targets, x),
        )(logits)
        valid = tf.math.count_nonzero(targets.valid)
        return {
            "cross_entropy": replicas.mean_over_pixels(losses, targets.valid, pixel_weights),
            "dissimilarity": replicas.normalize_globally(different, valid),
        }

    def term_maps(self, targets: Targets, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return Σ_c BCE_c, and the dissimilarity, averaged over the classes."""
        losses, different = cross_entropy_and_dissimilarity(targets, logits, **self._options())
        return {"cross_entropy": losses, "dissimilarity": different}

    def _formula(self, targets: Targets, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the cross-entropy of each pixel and the dissimilarity of each image."""
        losses, different = cross_entropy_and_dissimilarity(targets, logits, **self._options())
        return losses, tf.reduce_sum(different, axis=[1, 2])

    def _options(self) -> dict:
        return {"form": self.form, "window_size": self.window_size, "sigma": self.sigma}

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return λ · cross-entropy + (1 − λ) · dissimilarity."""
        return self.weight * terms["cross_entropy"] + (1 - self.weight) * terms["dissimilarity"]
