"""Region mutual information: how much a region of the prediction tells of a region of the truth.

`region_mutual_information` is the formula, for readers and for tests; the class takes the same
numbers from `tfsegloss.kernels.region_mutual_information`, which is faster.
"""

from collections.abc import Sequence

import tensorflow as tf

from tfsegloss.core import replicas
from tfsegloss.core.checks import check_choice, check_integer, check_positive, check_range
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.targets import Targets, one_hot, zero_ignored
from tfsegloss.kernels import downsampling, xla
from tfsegloss.kernels.pixel_cross_entropy import sigmoid_losses
from tfsegloss.kernels.region_mutual_information import (
    maps_of_classes,
    region_points,
    region_values,
)
from tfsegloss.kernels.second_derivatives import with_formula
from tfsegloss.losses.base import SegmentationLoss

DOWNSAMPLE_METHODS = ("avg", "max", "bilinear", None)
# The authors' code adds these to the probabilities and to the Cholesky diagonal in the logarithm.
PROBABILITY_OFFSET = 1e-6
DIAGONAL_OFFSET = 1e-8


def region_mutual_information(
    targets: Targets,
    logits: tf.Tensor,
    *,
    region_size: int = 3,
    downsample: str | None = "avg",
    downsample_factor: int = 4,
    epsilon: float = 5e-4,
) -> tf.Tensor:
    """Return the negative lower bound of the mutual information of regions, image by image.

    L_b = Σ_c ½ log det(M_bc + εI) / d,  M = Σ_YY − Σ_YP (Σ_PP + εI)⁻¹ Σ_PY

    A point is a region of region_size × region_size pixels, d = region_size², of the map of one
    class; Y are the points of the one-hot truth, P those of σ(x) + 1e-6, both 0 at ignored pixels
    and both downsampled; Σ are sums, not means, of products of centered points, in float64.

    The value can be negative, its size depends on the image and on every option, and it moves
    little while the segmentation improves: compare it within one setting only. Where the
    downsampled image holds no whole region, it is the constant C · ½ log ε, without gradient.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, finite at valid pixels, float32 or float64.
        region_size: Side of a region, ≥ 1.
        downsample: "avg" or "max" (kernel = stride = factor, factor // 2 zeros padded on each
            side), "bilinear" (probabilities with aligned corners, truth nearest, to max(1, H //
            factor) rows), or None.
        downsample_factor: ≥ 1.
        epsilon: ε > 0.

    Returns:
        `[B]`, in the logits' type.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> truth = tf.reshape(tf.range(256) % 2, [1, 16, 16])
    >>> right = tf.one_hot(truth, 2) * 20 - 10
    >>> targets = encode_targets(truth, num_classes=2)
    >>> good = region_mutual_information(targets, right, downsample=None)
    >>> bad = region_mutual_information(targets, tf.zeros([1, 16, 16, 2]), downsample=None)
    >>> bool(good[0] < bad[0])
    True

    Reference: RMI (Zhao et al., 2019), Eq. 12 to 16. Deviations, all the authors' code's, whose
    results are the published ones: sums instead of means over the points, ε = 5e-4 instead of
    1e-6 and also inside the inverse, 1e-8 added to the Cholesky diagonal in the logarithm.
    Ours: a triangular solve instead of an inverse.
    """
    maps = _downsampled(logits, targets, downsample, downsample_factor)
    return _region_values(*maps, region_size, epsilon)


def _downsampled(
    logits: tf.Tensor, targets: Targets, method: str | None, factor: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the downsampled truth and probabilities, `[B, H', W', C]`."""
    truth = one_hot(targets, logits.shape[-1], logits.dtype)
    # Masked twice: before, for the gradient of NaN is NaN; after, for σ(0) is not 0.
    p = tf.sigmoid(zero_ignored(logits, targets.valid))
    if method == "bilinear":
        small = downsampling.bilinear(p, targets.valid, factor)
        return downsampling.nearest(truth, factor), small + PROBABILITY_OFFSET
    probabilities = zero_ignored(p, targets.valid) + PROBABILITY_OFFSET
    if method is None:
        return truth, probabilities
    return tuple(downsampling.pooled(maps, factor, method) for maps in (truth, probabilities))


def _region_values(
    truth: tf.Tensor, probabilities: tf.Tensor, region_size: int, epsilon: float
) -> tf.Tensor:
    """Return Σ_c ½ log det(M_bc + εI) / d `[B]` of downsampled maps."""
    maps = truth, probabilities
    y, p = (region_points(maps_of_classes(m), region_size) for m in maps)  # [B · C, d, N]
    values = _log_det(y, p, epsilon) / (2 * region_size**2)
    values = tf.reshape(values, [-1, truth.shape[-1]])
    return tf.cast(tf.reduce_sum(values, axis=1), probabilities.dtype)


def _log_det(y: tf.Tensor, p: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Return log det(M + εI) `[n]` of centered points `[n, d, N]`."""
    ridge = epsilon * tf.eye(y.shape[1], dtype=y.dtype)
    yy = tf.matmul(y, y, transpose_b=True)  # [n, d, d]
    pp = tf.matmul(p, p, transpose_b=True)
    py = tf.matmul(p, y, transpose_b=True)
    # With L Lᵀ = Σ_PP + εI, Σ_YP (Σ_PP + εI)⁻¹ Σ_PY = AᵀA for A = L⁻¹ Σ_PY: symmetric by form.
    a = tf.linalg.triangular_solve(tf.linalg.cholesky(pp + ridge), py)
    posterior = yy - tf.matmul(a, a, transpose_a=True)  # M
    diagonal = tf.linalg.diag_part(tf.linalg.cholesky(posterior + ridge))
    return 2 * tf.reduce_sum(tf.math.log(diagonal + DIAGONAL_OFFSET), axis=-1)


@keras.saving.register_keras_serializable(package="tfsegloss")
class RMILoss(SegmentationLoss):
    """Region mutual information beside the cross-entropy of sigmoids.

    L = λ · Σ_V Σ_c BCE_c / (|V| + 1) + (1 − λ) · mean_b Σ_c ½ log det(M_bc + εI) / d

    λ = `weight`, V the valid pixels of the global batch; for the second term, which can be
    negative and must not be compared across settings, see `region_mutual_information`. `parts`
    returns the terms as "cross_entropy" and "region".

    Args:
        region_size: Side of a region, ≥ 1.
        downsample: "avg", "max", "bilinear" or None.
        downsample_factor: ≥ 1.
        weight: λ in [0, 1].
        epsilon: ε > 0.
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

    >>> loss = RMILoss()
    >>> truth = tf.reshape(tf.range(1024) // 512, [1, 32, 32])
    >>> right = tf.one_hot(truth, 2) * 20 - 10
    >>> bool(loss(truth, right) < loss(truth, -right))
    True

    Reference: RMI (Zhao et al., 2019), Eq. 16, as its authors ran it: |V| + 1 in the divisor, and
    the deviations named in `region_mutual_information`.
    """

    activation = "sigmoid"

    def __init__(
        self,
        *,
        region_size: int = 3,
        downsample: str | None = "avg",
        downsample_factor: int = 4,
        weight: float = 0.5,
        epsilon: float = 5e-4,
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            from_logits=from_logits, ignore_class=ignore_class, reduction=reduction, name=name
        )
        self.region_size = check_integer("region_size", region_size, 1)
        self.downsample = check_choice("downsample", downsample, DOWNSAMPLE_METHODS)
        self.downsample_factor = check_integer("downsample_factor", downsample_factor, 1)
        self.weight = check_range("weight", weight, 0, 1)
        self.epsilon = check_positive("epsilon", epsilon)

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Return the cross-entropy and the region term."""

        def maps(x, targets):
            small = _downsampled(x, targets, self.downsample, self.downsample_factor)
            return sigmoid_losses(x, targets), *small

        # In one cluster, for one pass over the logits and one over their gradient.
        losses, truth, probabilities = xla.compiled_with_gradient(maps, logits, targets)
        options = self.region_size, self.epsilon
        region = with_formula(
            lambda p: region_values(truth, p, *options, DIAGONAL_OFFSET),
            lambda p: _region_values(truth, p, *options),
        )(probabilities)
        return {
            # The authors divide by |V| + 1.
            "cross_entropy": replicas.mean_over_pixels(
                losses, targets.valid, pixel_weights, additional=1
            ),
            "region": replicas.image_share(region),
        }

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return λ · cross-entropy + (1 − λ) · region."""
        return self.weight * terms["cross_entropy"] + (1 - self.weight) * terms["region"]
