"""Cross-entropy of a softmax and of sigmoids.

The functions are the formulas, for readers and for tests; the classes take the same numbers from
`tfsegloss.kernels.pixel_cross_entropy`, which is faster.
"""

from collections.abc import Sequence

import tensorflow as tf

from tfsegloss.core.checks import check_range
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.targets import Targets, one_hot, zeroing_ignored
from tfsegloss.kernels import xla
from tfsegloss.kernels.pixel_cross_entropy import sigmoid_losses, softmax_losses
from tfsegloss.losses.pixel import PixelLoss
from tfsegloss.poolings.pooling import Pooling


def softmax_cross_entropy(
    targets: Targets, logits: tf.Tensor, *, label_smoothing: float = 0.0
) -> tf.Tensor:
    """Return the cross-entropy of targets and the softmax of the logits, pixel by pixel.

    ℓ = −Σ_c t_c log softmax(x)_c, with t the one-hot (or dense) target, smoothed by ε to
    (1 − ε)·t + ε/C.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64.
        label_smoothing: ε in [0, 1].

    Returns:
        ℓ ≥ 0, `[B, H, W]`, in the logits' type.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[1]]]), num_classes=2)
    >>> round(float(softmax_cross_entropy(targets, tf.constant([[[[0.0, 0.0]]]]))[0, 0, 0]), 4)
    0.6931

    Reference: RMI (Zhao et al., 2019), Eq. 1. Smoothing is not in that paper; it is Keras'.
    """
    num_classes = logits.shape[-1]
    x = tf.where(targets.valid[..., tf.newaxis], logits, 0)
    t = one_hot(targets, num_classes, x.dtype)
    t = (1 - label_smoothing) * t + label_smoothing / num_classes
    losses = -tf.reduce_sum(t * tf.nn.log_softmax(x), axis=-1)
    return tf.where(targets.valid, losses, 0)


def sigmoid_cross_entropy(
    targets: Targets, logits: tf.Tensor, *, label_smoothing: float = 0.0
) -> tf.Tensor:
    """Return the binary cross-entropies summed over the classes, pixel by pixel.

    ℓ = Σ_c BCE_c, BCE_c = −t_c log σ(x_c) − (1 − t_c) log(1 − σ(x_c)), σ the sigmoid, t the
    one-hot (or dense) target, smoothed by ε to (1 − ε)·t + ε/2.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64; C = 1 with ids {0, 1} is binary.
        label_smoothing: ε in [0, 1].

    Returns:
        ℓ ≥ 0, `[B, H, W]`, in the logits' type.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[1]]]), num_classes=2)
    >>> round(float(sigmoid_cross_entropy(targets, tf.constant([[[[0.0, 0.0]]]]))[0, 0, 0]), 4)
    1.3863

    Reference: RMI (Zhao et al., 2019), section 4, and its authors' code, which sums over classes
    and averages over pixels. Smoothing is not in that paper; it is Keras'.
    """
    x = tf.where(targets.valid[..., tf.newaxis], logits, 0)
    t = one_hot(targets, x.shape[-1], x.dtype)
    t = (1 - label_smoothing) * t + label_smoothing / 2
    # 1 − σ(x) = σ(−x)
    losses = -t * tf.math.log_sigmoid(x) - (1 - t) * tf.math.log_sigmoid(-x)
    return tf.where(targets.valid, tf.reduce_sum(losses, axis=-1), 0)


class _CrossEntropy(PixelLoss):
    """Options shared by the two cross-entropies."""

    def __init__(
        self,
        *,
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        pooling: Pooling | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            class_weights=class_weights,
            pooling=pooling,
            reduction=reduction,
            name=name,
        )
        self.label_smoothing = check_range("label_smoothing", label_smoothing, 0, 1)


@keras.saving.register_keras_serializable(package="tfsegloss")
class SoftmaxCrossEntropy(_CrossEntropy):
    """Cross-entropy of a softmax, pooled over the valid pixels; see `softmax_cross_entropy`.

    L = pool_V(w_y ℓ), V the valid pixels, w_y the weight of a pixel's class.

    Args:
        from_logits: Whether `y_pred` holds logits (otherwise the probabilities of a softmax).
        ignore_class: Id or ids without label; None: every pixel counts.
        class_weights: C weights ≥ 0; the divisor stays |V|. None: all 1.
        label_smoothing: ε in [0, 1].
        pooling: See `tfsegloss.poolings.pooling`; None: `Mean()`.
        reduction: As in Keras.
        name: As in Keras.

    Call:
        y_true: ids `[B, H, W]` or `[B, H, W, 1]`, or dense targets `[B, H, W, C]`.
        y_pred: `[B, H, W, C]`, C ≥ 2.
        sample_weight: None, `[B]` or `[B, H, W]`.

    Raises:
        ValueError: An option or a shape is not as above.

    Example:

    >>> loss = SoftmaxCrossEntropy()
    >>> round(float(loss(tf.constant([[[1, 255]]]), tf.zeros([1, 1, 2, 2]))), 4)
    0.6931
    """

    activation = "softmax"

    def pixel_losses(self, targets: Targets, logits: tf.Tensor) -> tf.Tensor:
        """Return `softmax_cross_entropy` with this loss' options, by its kernel."""
        smoothing = (1 - self.label_smoothing, self.label_smoothing / logits.shape[-1])

        def losses(x, targets):
            return softmax_losses(x, targets, *smoothing)

        return xla.compiled_with_gradient(losses, logits, targets, formula=zeroing_ignored(losses))


@keras.saving.register_keras_serializable(package="tfsegloss")
class SigmoidCrossEntropy(_CrossEntropy):
    """Binary cross-entropies summed over the classes, pooled over the valid pixels.

    L = pool_V(w_y Σ_c BCE_c), see `sigmoid_cross_entropy`; V the valid pixels, w_y the weight of a
    pixel's class. C = 1 with ids {0, 1} is binary segmentation.

    Args:
        from_logits: Whether `y_pred` holds logits (otherwise the probabilities of sigmoids).
        ignore_class: Id or ids without label; None: every pixel counts.
        class_weights: C weights ≥ 0, for one class those of the ids 0 and 1; pixels without class
            weigh 1, those of several classes the mean of theirs; the divisor stays |V|.
        label_smoothing: ε in [0, 1].
        pooling: See `tfsegloss.poolings.pooling`; None: `Mean()`.
        reduction: As in Keras.
        name: As in Keras.

    Call:
        y_true: ids `[B, H, W]` or `[B, H, W, 1]`, or independent targets `[B, H, W, C]`, where a
            pixel without any class counts.
        y_pred: `[B, H, W, C]`, C ≥ 1.
        sample_weight: None, `[B]` or `[B, H, W]`.

    Raises:
        ValueError: An option or a shape is not as above.

    Example:

    >>> loss = SigmoidCrossEntropy()
    >>> round(float(loss(tf.constant([[[1, 255]]]), tf.zeros([1, 1, 2, 2]))), 4)
    1.3863
    """

    activation = "sigmoid"

    def pixel_losses(self, targets: Targets, logits: tf.Tensor) -> tf.Tensor:
        """Return `sigmoid_cross_entropy` with this loss' options, by its kernel."""
        smoothing = (1 - self.label_smoothing, self.label_smoothing / 2)
        return xla.compiled_with_gradient(
            lambda x, targets: sigmoid_losses(x, targets, *smoothing), logits, targets
        )
