"""Locally adaptive loss: cross-entropy of predictions pooled over neighbors of the same class."""

from collections.abc import Sequence

import tensorflow as tf

from tfsegloss.core.checks import check_integer, check_odd
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.shapes import sizes
from tfsegloss.core.targets import Targets, classes, one_hot
from tfsegloss.kernels import local_pooling, windows
from tfsegloss.kernels.second_derivatives import with_formula
from tfsegloss.losses.pixel import PixelLoss
from tfsegloss.poolings.pooling import Minkowski, Pooling


def locally_adaptive(targets: Targets, logits: tf.Tensor, *, kernel_size: int = 5) -> tf.Tensor:
    """Return the cross-entropy of each pixel's prediction, pooled over neighbors of the same class.

    ℓ_i = −log softmax(f_i)_{y_i},  f_i = (1/ξ_i) Σ_{j ∈ window(i), y_j = y_i} ω(d(i, j)) z_j

    z_j = (x_j − mean_c x_j) / √(var_c x_j + 1e-6) is a pixel's standardized logits, d the
    chessboard distance (D8), ω = 2^(1 − d), ξ_i the number of pixels in the sum, the center
    included. Pixels outside the image and ignored ones are in no sum.

    This is the formula; `LADLoss` runs `tfsegloss.kernels.local_pooling`, which gives the same.

    Args:
        targets: From `encode_targets`. Dense targets: y is the class of the largest share, and
            the cross-entropy that of the shares; a pixel of which all are 0 is in no sum.
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
    ids = classes(targets)
    x = tf.where(targets.valid[..., tf.newaxis], logits, 0)
    # Not `tf.nn.moments`, which takes the mean for a constant: its second derivative is wrong.
    offset = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(offset**2, axis=-1, keepdims=True)
    z = offset / tf.sqrt(variance + local_pooling.VARIANCE_OFFSET)
    weights = tf.constant(windows.chessboard(kernel_size), x.dtype)
    total = _same_class_sum(z, ids, x.shape[-1], weights)
    count = _same_class_sum(tf.ones_like(z[..., :1]), ids, x.shape[-1], tf.ones_like(weights))  # ξ
    log_p = tf.nn.log_softmax(total / tf.maximum(count, 1))
    return -tf.reduce_sum(one_hot(targets, x.shape[-1], x.dtype) * log_p, axis=-1)


def _same_class_sum(
    maps: tf.Tensor, ids: tf.Tensor, num_classes: int, weights: tf.Tensor
) -> tf.Tensor:
    """Return Σ_{j ∈ window(i), y_j = y_i} ω(d(i, j)) z_j, as one depthwise convolution a class."""
    weights = tf.tile(weights[..., tf.newaxis, tf.newaxis], [1, 1, maps.shape[-1], 1])

    def of_class(c):
        mask = tf.cast(ids == c, maps.dtype)[..., tf.newaxis]
        return mask * tf.nn.depthwise_conv2d(mask * maps, weights, [1, 1, 1, 1], "SAME")

    # One class after the other, in one map: not all classes' sums at once.
    total = tf.zeros_like(maps)
    for c in range(num_classes):
        total += of_class(c)
    return total


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
        y_pred: `[B, H, W, C]`, C ≥ 3: two standardized logits are ±1 however far apart the logits
            are, and so have no gradient.
        sample_weight: None, `[B]`, or `[B, H, W]`, which multiplies ℓ; the window does not see it.

    Raises:
        ValueError: An option or a shape is not as above, or in eager mode a logit of a labelled
            pixel is −∞ (in a graph the value is NaN or ∞).

    Example:

    >>> loss = LADLoss(kernel_size=3)
    >>> logits = tf.constant([[[[9.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]])
    >>> loss(tf.constant([[[0, 0]]]), logits) < loss(tf.constant([[[1, 0]]]), logits)
    <tf.Tensor: shape=(), dtype=bool, numpy=True>

    Reference: LAD (Guo et al., 2018), Eq. 5 on Eq. 2 to 4; kernel 5 and k = 3 are its best (tables
    1 and 2), its stride is 1. The gradient is that of these formulas; Eq. 7 and 8 as printed are
    not (Eq. 8 lacks 1/ξ, Eq. 7 has a sum too many). The mean over a batch's images is a choice.
    """

    activation = "softmax"
    least_classes = 3
    needs_finite_logits = True

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
        """Return what `locally_adaptive` does, with this loss' kernel, by blocks of rows."""
        return with_formula(
            lambda x: local_pooling.pooled_losses(targets, x, self.kernel_size),
            lambda x: locally_adaptive(targets, x, kernel_size=self.kernel_size),
        )(logits)

    def term_maps(self, targets: Targets, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return those of `PixelLoss`, and ξ, the number of pixels that agree in the window."""
        ids = classes(targets)
        count = _same_class_sum(
            tf.ones([*sizes(ids), 1]),
            ids,
            logits.shape[-1],
            tf.ones([self.kernel_size, self.kernel_size]),
        )
        count = tf.cast(tf.round(count[..., 0]), tf.int32)
        return {**super().term_maps(targets, logits), "agreement": count}

    def pooled_mask(self, targets: Targets) -> tf.Tensor:
        """Return the valid pixels in every `stride`-th row and column."""
        rows, columns = (tf.range(size) % self.stride == 0 for size in sizes(targets.valid)[1:])
        return targets.valid & rows[:, tf.newaxis] & columns
