"""Locally adaptive loss: cross-entropy of predictions pooled over neighbors of the same class."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from tfsegloss.core.checks import check_integer, check_odd
from tfsegloss.core.shapes import sizes
from tfsegloss.core.targets import Targets, zero_ignored
from tfsegloss.kernels import windows
from tfsegloss.kernels.pixel_cross_entropy import softmax_losses
from tfsegloss.kernels.row_blocks import (
    inner_rows,
    inner_targets,
    map_row_blocks,
    pad_classes_to_vector_width,
    sum_over_classes,
)
from tfsegloss.losses.pixel import PixelLoss
from tfsegloss.poolings.pooling import Minkowski, Pooling

VARIANCE_OFFSET = 1e-6  # keeps 1/σ finite where all logits of a pixel are equal


def locally_adaptive(targets: Targets, logits: tf.Tensor, *, kernel_size: int = 5) -> tf.Tensor:
    """Cross-entropy of each pixel's prediction, pooled over its neighbors of the same class.

    ℓ_i = −log softmax(f_i)_{y_i},  f_i = (1/ξ_i) Σ_{j ∈ window(i), y_j = y_i} ω(d(i, j)) z_j

    z_j = (x_j − mean_c x_j) / √(var_c x_j + 1e-6) is a pixel's standardized logits, d the
    chessboard distance (D8), ω = 2^(1 − d), ξ_i the number of pixels in the sum, the center
    included. Pixels outside the image and ignored ones are in no sum.

    Args:
        targets: From `encode_targets`. Dense targets: y is the class of the largest share, and
            the cross-entropy that of the shares.
        logits: x, `[B, H, W, C]`, C ≥ 2, float32 or float64.
        kernel_size: Odd side of the window, ≥ 1.

    Returns:
        ℓ ≥ 0, `[B, H, W]`, 0 where ignored, in the logits' type.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[0, 0]]]), num_classes=2)
    >>> logits = tf.constant([[[[9.0, 0.0], [0.0, 1.0]]]])  # the second is wrong: half as bad
    >>> [round(float(x), 3) for x in locally_adaptive(targets, logits)[0, 0]]
    [0.313, 1.313]

    Reference: LAD (Guo et al., 2018), Eq. 2 to 4. ω sums to more than 1 over the window, as in the
    paper, so f is sharper than z. The offset under the root is ours.
    """
    margin = kernel_size // 2

    def losses(x, block):
        pooled = _pool(x, block, kernel_size, margin).pooled
        return _cross_entropy(pooled, inner_targets(block, margin), x.shape[-1])

    def gradient(x, block, upstream):
        z, deviation, ids, count, pooled = _pool(x, block, kernel_size, 2 * margin)
        rows, columns = (slice(margin, n - margin) for n in sizes(ids)[1:])
        ids = ids[:, rows, columns]
        upstream = _fill_columns(inner_rows(upstream, margin), margin, 0)
        slope = zero_ignored(upstream, ids >= 0) / count
        num_classes = x.shape[-1]
        # Instead of the highest f, which lies in [0, 2 √(C − 1)], the middle of that is taken off:
        # float32 holds the exponentials of up to 6000 classes.
        exponentials = tf.exp(pooled - math.sqrt(num_classes - 1))
        part = slope / sum_over_classes(exponentials, num_classes)
        if block.dense is None:
            lanes = tf.range(pooled.shape[-1])
            goal = tf.where(ids[..., tf.newaxis] == lanes, slope[..., tf.newaxis], 0)
        else:
            dense = tf.cast(inner_targets(block, margin).dense, x.dtype)
            dense = _fill_columns(dense, margin, 0)
            goal = pad_classes_to_vector_width(dense) * slope[..., tf.newaxis]
            part *= sum_over_classes(dense)
        slopes = part[..., tf.newaxis] * exponentials - goal
        # Which pixels see each other is symmetric: the gradient is the same sum again.
        slopes = windows.same_class_sum(slopes, ids, kernel_size)
        rows, columns = (slice(2 * margin, n - 2 * margin) for n in sizes(deviation)[1:])
        # The gradient of `_standardized`, v − mean_c v − z · mean_c(v z) with v = u / deviation.
        # As a quotient, the sum is computed once; a product XLA computes again for each use.
        slopes /= deviation[:, rows, columns][..., tf.newaxis]
        z = z[:, rows, columns]
        mean = sum_over_classes(slopes, num_classes)[..., tf.newaxis] / num_classes
        along = sum_over_classes(slopes * z, num_classes)[..., tf.newaxis] / num_classes
        return (slopes - mean - z * along)[..., :num_classes]

    @tf.custom_gradient
    def pixel_losses(x):
        value = map_row_blocks(losses, x, targets, margin=margin, reflect=False)

        def backward(upstream):
            return map_row_blocks(gradient, x, targets, upstream, margin=2 * margin, reflect=False)

        return value, backward

    return pixel_losses(logits)


class _Pooled(NamedTuple):
    """A block of H rows, padded to W columns, and its selective pooling."""

    z: tf.Tensor  # [H, W, C and lanes], see `rows.pad_classes_to_vector_width`
    deviation: tf.Tensor  # [H, W], √(var x + 1e-6)
    ids: tf.Tensor  # int32 [H, W], -1 where ignored and in the padding
    count: tf.Tensor  # [H - size + 1, W - size + 1], ξ, at least 1
    pooled: tf.Tensor  # [H - size + 1, W - size + 1, C and lanes], f


def _pool(x: tf.Tensor, block: Targets, size: int, margin: int) -> _Pooled:
    # Padded before all else: what is padded later, XLA pads again at each read of a window.
    ids = _fill_columns(_classes(block), margin, -1)
    z, deviation = _standardized(zero_ignored(_fill_columns(x, margin, 0), ids >= 0))
    count = tf.maximum(windows.same_class_count(ids, size), 1)
    count = tf.cast(count, x.dtype)
    pooled = windows.same_class_sum(z, ids, size) * tf.math.reciprocal(count)[..., tf.newaxis]
    return _Pooled(z, deviation, ids, count, pooled)


def _standardized(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """z = (x − mean_c x) / deviation, with its lanes, and deviation = √(var_c x + 1e-6)."""
    x -= x[..., :1]  # a constant of the pixel, whose digits the mean would cost all the others
    num_classes = x.shape[-1]
    x = pad_classes_to_vector_width(x)
    centered = x - sum_over_classes(x, num_classes)[..., tf.newaxis] / num_classes
    variance = sum_over_classes(tf.square(centered), num_classes) / num_classes
    deviation = tf.sqrt(variance + VARIANCE_OFFSET)
    return centered / deviation[..., tf.newaxis], deviation


def _cross_entropy(f: tf.Tensor, targets: Targets, num_classes: int) -> tf.Tensor:
    """Σ_c t_c (log Σ_k exp f_k − f_c), 0 where ignored, of logits of mean 0 below 2 √(C − 1)."""
    if targets.dense is None:
        mass = 1.0
        target = tf.gather(f, targets.ids, batch_dims=3)
    else:
        dense = pad_classes_to_vector_width(tf.cast(targets.dense, f.dtype))
        mass, target = sum_over_classes(dense, num_classes), sum_over_classes(dense * f, num_classes)
    lowest = max(0.0, 2 * math.sqrt(num_classes - 1) + math.log(num_classes) - 88)
    around = tf.maximum(target / tf.maximum(mass, 1.0), lowest)
    exponentials = tf.exp(f - around[..., tf.newaxis])
    log_sum = tf.math.log(sum_over_classes(exponentials, num_classes))
    return zero_ignored(mass * log_sum + (mass * around - target), targets.valid)


def _classes(targets: Targets) -> tf.Tensor:
    """int32 ids, −1 where ignored."""
    ids = targets.ids
    if ids is None:
        ids = tf.argmax(targets.dense, axis=-1, output_type=tf.int32)
    return tf.where(targets.valid, ids, -1)


def _fill_columns(maps: tf.Tensor, margin: int, value: float | bool) -> tf.Tensor:
    margins = [[0, 0]] * maps.shape.rank
    margins[2] = [margin, margin]
    return tf.pad(maps, margins, constant_values=value)


@keras.saving.register_keras_serializable(package="tfsegloss")
class LADLoss(PixelLoss):
    """Cross-entropy of locally pooled predictions, with the power mean of each image.

    L = mean_b (Σ_V ℓ^k / |V|)^(1/k), ℓ from `locally_adaptive`, V the valid pixels of an image in
    rows and columns 0, stride, 2·stride, …

    Args:
        kernel_size: Odd side of the window, ≥ 1.
        stride: ≥ 1, between the windows that are counted.
        from_logits: Whether `y_pred` holds logits (otherwise the probabilities of a softmax).
        ignore_class: Id or ids without label; None: every pixel counts.
        class_weights: C weights ≥ 0 that multiply ℓ by the class of the center. None: all 1.
        pooling: Of the counted pixels; None: `Minkowski(k=3)`. The paper suggests `MaxPooling` too.
        reduction: As in Keras.
        name: As in Keras.

    Call:
        y_true: ids `[B, H, W]` or `[B, H, W, 1]`, or dense targets `[B, H, W, C]`.
        y_pred: `[B, H, W, C]`, C ≥ 2.
        sample_weight: None, `[B]`, or `[B, H, W]`, which multiplies ℓ; the window does not see it.

    Raises:
        ValueError: An option or a shape is not as above.

    Example:

    >>> loss = LADLoss(kernel_size=3)
    >>> logits = tf.constant([[[[9.0, 0.0], [0.0, 1.0]]]])
    >>> loss(tf.constant([[[0, 0]]]), logits) < loss(tf.constant([[[1, 0]]]), logits)
    <tf.Tensor: shape=(), dtype=bool, numpy=True>

    Reference: LAD (Guo et al., 2018), Eq. 5 on Eq. 2 to 4; kernel 5 and k = 3 are its best (tables
    1 and 2), its stride is 1.
    """

    activation = "softmax"

    def __init__(
        self,
        *,
        kernel_size: int = 5,
        stride: int = 1,
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        class_weights: Sequence[float] | None = None,
        pooling: Pooling | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            class_weights=class_weights,
            pooling=Minkowski(k=3) if pooling is None else pooling,
            reduction=reduction,
            name=name,
        )
        self.kernel_size = check_odd("kernel_size", kernel_size)
        self.stride = check_integer("stride", stride, 1)

    def pixel_losses(self, targets: Targets, logits: tf.Tensor) -> tf.Tensor:
        """`locally_adaptive` with this loss' kernel."""
        return locally_adaptive(targets, logits, kernel_size=self.kernel_size)

    def term_maps(self, targets: Targets, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """Those of `PixelLoss`, and ξ, the number of pixels that agree in the window."""
        margin = self.kernel_size // 2
        ids = tf.pad(
            _classes(targets), [[0, 0], [margin, margin], [margin, margin]], constant_values=-1
        )
        count = windows.same_class_count(ids, self.kernel_size)
        return {**super().term_maps(targets, logits), "agreement": count}

    def pooled_mask(self, targets: Targets) -> tf.Tensor:
        """The valid pixels in every `stride`-th row and column."""
        rows, columns = (tf.range(size) % self.stride == 0 for size in sizes(targets.valid)[1:])
        return targets.valid & rows[:, tf.newaxis] & columns
