"""Region mutual information: how much a region of the prediction tells of a region of the truth."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfsegloss import labels, replicas
from tfsegloss.base import SegmentationLoss
from tfsegloss.checks import check_at_least, check_choice, check_positive, check_range
from tfsegloss.cross_entropy import sigmoid_cross_entropy
from tfsegloss.labels import Targets

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
    """Negative lower bound of the mutual information of regions, image by image.

    L_b = Σ_c ½ log det(M_bc + εI) / d,  M = Σ_YY − Σ_YP (Σ_PP + εI)⁻¹ Σ_PY

    A point is a region of region_size × region_size pixels, d = region_size², of the map of one
    class; Y are the points of the one-hot truth, P those of σ(x) + 1e-6, both 0 at ignored pixels
    and both downsampled; Σ are sums, not means, of products of centred points, in float64.

    The value can be negative, its size depends on the image and on every option, and it moves
    little while the segmentation improves: compare it within one setting only. Fewer points than
    one (the downsampled image is smaller than the region): the constant C · ½ log ε, no gradient.

    Args:
        targets: From `labels.encode`.
        logits: x, `[B, H, W, C]`, finite, float32 or float64.
        region_size: Side of a region, ≥ 1.
        downsample: "avg" or "max" (kernel = stride = factor, factor // 2 zeros padded on each
            side), "bilinear" (probabilities with aligned corners, truth nearest), or None.
        downsample_factor: ≥ 1.
        epsilon: ε > 0.

    Returns:
        `[B]`, in the logits' type.

    Example:

    >>> truth = tf.reshape(tf.range(256) % 2, [1, 16, 16])
    >>> right = tf.one_hot(truth, 2) * 20 - 10
    >>> targets = labels.encode(truth, classes=2)
    >>> good = region_mutual_information(targets, right, downsample=None)
    >>> bad = region_mutual_information(targets, tf.zeros([1, 16, 16, 2]), downsample=None)
    >>> bool(good[0] < bad[0])
    True

    Reference: RMI (Zhao et al., 2019), Eq. 12 to 16. Deviations, all the authors' code's, whose
    results are the published ones: sums instead of means over the points, ε = 5e-4 instead of
    1e-6 and also inside the inverse, 1e-8 added to the Cholesky diagonal in the logarithm.
    Ours: a triangular solve instead of an inverse.
    """
    valid = tf.cast(targets.valid, logits.dtype)[..., tf.newaxis]
    truth = labels.one_hot(targets, logits.shape[-1], logits.dtype)  # [B, H, W, C]
    probabilities = tf.sigmoid(logits) * valid + PROBABILITY_OFFSET
    factor = 1 if downsample is None else downsample_factor
    if downsample == "bilinear":
        truth = _resize_nearest(truth, factor)
        probabilities = _resize_aligned(probabilities, factor)
    elif factor > 1:
        truth = _pool(truth, factor, downsample)
        probabilities = _pool(probabilities, factor, downsample)
    y = _points(truth, region_size)  # [B, C, d, N]
    p = _points(probabilities, region_size)
    log_det = _log_det_of_posterior(y, p, tf.constant(epsilon, tf.float64))  # [B, C]
    return tf.cast(tf.reduce_sum(log_det, axis=-1) / (2 * region_size**2), logits.dtype)


def _log_det_of_posterior(y: tf.Tensor, p: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """log det(M + εI) `[B, C]` of centred points `[B, C, d, N]`."""
    ridge = epsilon * tf.eye(y.shape[2], dtype=y.dtype)
    yy = tf.matmul(y, y, transpose_b=True)  # [B, C, d, d]
    pp = tf.matmul(p, p, transpose_b=True)
    py = tf.matmul(p, y, transpose_b=True)
    # With L Lᵀ = Σ_PP + εI, Σ_YP (Σ_PP + εI)⁻¹ Σ_PY = AᵀA for A = L⁻¹ Σ_PY: symmetric by form.
    a = tf.linalg.triangular_solve(tf.linalg.cholesky(pp + ridge), py)
    posterior = yy - tf.matmul(a, a, transpose_a=True)
    diagonal = tf.linalg.diag_part(tf.linalg.cholesky(posterior + ridge))
    return 2 * tf.reduce_sum(tf.math.log(diagonal + DIAGONAL_OFFSET), axis=-1)


def _points(maps: tf.Tensor, region_size: int) -> tf.Tensor:
    """All regions of each map, stride 1, no padding, centred: `[B, C, d, N]` in float64."""
    maps = tf.transpose(tf.cast(maps, tf.float64), [0, 3, 1, 2])  # [B, C, H, W]
    shape = tf.shape(maps)
    height = tf.maximum(shape[2] - region_size + 1, 0)
    width = tf.maximum(shape[3] - region_size + 1, 0)
    shifted = [
        maps[:, :, i : i + height, j : j + width]
        for i in range(region_size)
        for j in range(region_size)
    ]
    points = tf.stack(shifted, axis=2)  # [B, C, d, height, width]
    points = tf.reshape(points, [shape[0], maps.shape[1], region_size**2, height * width])
    count = tf.cast(tf.maximum(height * width, 1), points.dtype)
    return points - tf.reduce_sum(points, axis=-1, keepdims=True) / count


def _pool(maps: tf.Tensor, factor: int, method: str) -> tf.Tensor:
    """Pools with kernel = stride = factor; padded zeros count in the average."""
    margin = [factor // 2, factor // 2]
    maps = tf.pad(maps, [[0, 0], margin, margin, [0, 0]])
    pool = tf.nn.avg_pool2d if method == "avg" else tf.nn.max_pool2d
    return pool(maps, factor, factor, "VALID")


def _resize_nearest(maps: tf.Tensor, factor: int) -> tf.Tensor:
    """`[B, H // factor, W // factor, C]`: row i is row ⌊i·H / H'⌋."""
    for axis in (1, 2):
        size = tf.shape(maps)[axis]
        small = size // factor
        maps = tf.gather(maps, tf.range(small) * size // tf.maximum(small, 1), axis=axis)
    return maps


def _resize_aligned(maps: tf.Tensor, factor: int) -> tf.Tensor:
    """`[B, H // factor, W // factor, C]`: bilinear, the corners' centres aligned."""
    rows = _interpolation(tf.shape(maps)[1], factor, maps.dtype)
    columns = _interpolation(tf.shape(maps)[2], factor, maps.dtype)
    return tf.einsum("jw,biwc->bijc", columns, tf.einsum("ih,bhwc->biwc", rows, maps))


def _interpolation(size: tf.Tensor, factor: int, dtype: tf.DType) -> tf.Tensor:
    """Matrix `[size // factor, size]` whose rows hold the shares of the two nearest pixels."""
    small = size // factor
    last = tf.cast(tf.maximum(small - 1, 1), dtype)
    position = tf.cast(tf.range(small) * (size - 1), dtype) / last
    low = tf.cast(tf.floor(position), tf.int32)
    share = (position - tf.floor(position))[:, tf.newaxis]
    return tf.one_hot(low, size, dtype=dtype) * (1 - share) + (
        tf.one_hot(low + 1, size, dtype=dtype) * share
    )


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
        self.region_size = check_at_least("region_size", region_size, 1)
        self.downsample = check_choice("downsample", downsample, DOWNSAMPLE_METHODS)
        self.downsample_factor = check_at_least("downsample_factor", downsample_factor, 1)
        self.weight = check_range("weight", weight, 0, 1)
        self.epsilon = check_positive("epsilon", epsilon)

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """The cross-entropy and the region term."""
        losses = sigmoid_cross_entropy(targets, logits)  # [B, H, W]
        if pixel_weights is not None:
            losses *= pixel_weights
        total = tf.reduce_sum(tf.where(targets.valid, losses, 0), axis=[1, 2])
        # The authors divide by |V| + 1: the one is shared by the replicas.
        count = tf.cast(tf.math.count_nonzero(targets.valid), losses.dtype)
        region = region_mutual_information(
            targets,
            logits,
            region_size=self.region_size,
            downsample=self.downsample,
            downsample_factor=self.downsample_factor,
            epsilon=self.epsilon,
        )
        return {
            "cross_entropy": replicas.share_of_batch(total, count + 1 / replicas.replica_count()),
            "region": replicas.image_share(region),
        }

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """λ · cross-entropy + (1 − λ) · region."""
        return self.weight * terms["cross_entropy"] + (1 - self.weight) * terms["region"]
