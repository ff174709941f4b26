"""Focal loss: cross-entropy that turns away from what is easy.

The functions are the formulas, for readers and for tests; the class takes the same numbers from
`tfsegloss.kernels.focal`, which is faster.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfsegloss.core.checks import check_at_least, check_choice, check_range
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.targets import Targets, one_hot, zeroing_ignored
from tfsegloss.kernels import xla
from tfsegloss.kernels.focal import sigmoid_focal_losses, softmax_focal_losses
from tfsegloss.losses.base import ACTIVATIONS
from tfsegloss.losses.pixel import PixelLoss
from tfsegloss.poolings.pooling import Pooling


def softmax_focal(
    targets: Targets, logits: tf.Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> tf.Tensor:
    """Return the focal loss of a softmax, pixel by pixel.

    ℓ = −α Σ_c t_c (1 − p_c)^γ log p_c, with p = softmax(x) and t the one-hot (or dense) target;
    cross-entropy for α = 1, γ = 0.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64.
        alpha: α in [0, 1], one factor for all classes.
        gamma: γ ≥ 0; the larger, the less pixels count that are nearly right.

    Returns:
        ℓ ≥ 0, `[B, H, W]`, in the logits' type.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[1]]]), num_classes=2)
    >>> x = tf.constant([[[[0.0, 0.0]]]])
    >>> round(float(softmax_focal(targets, x, alpha=1.0, gamma=1.0)[0, 0, 0]), 4)  # ½ log 2
    0.3466

    Reference: Lin et al., *Focal loss for dense object detection*, 2017, Eq. 5. Deviations: the
    probabilities are a softmax', and α, which balances the two classes there, is the same for all.
    α and γ are those LAD (Guo et al., 2018) compares with.
    """

    x = tf.where(targets.valid[..., tf.newaxis], logits, 0)
    t = one_hot(targets, x.shape[-1], x.dtype)
    log_p = tf.nn.log_softmax(x)
    losses = -alpha * tf.reduce_sum(t * _power_of_miss(log_p, gamma) * log_p, axis=-1)
    return tf.where(targets.valid, losses, 0)


def sigmoid_focal(
    targets: Targets, logits: tf.Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> tf.Tensor:
    """Return the binary focal losses summed over the classes, pixel by pixel.

    ℓ = −Σ_c [α t_c (1 − p_c)^γ log p_c + (1 − α) (1 − t_c) p_c^γ log(1 − p_c)], with p = σ(x), σ
    the sigmoid, and t the one-hot (or dense) target; half the binary cross-entropies for α = ½,
    γ = 0.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64; C = 1 with ids {0, 1} is binary.
        alpha: α in [0, 1], the weight of t = 1; that of t = 0 is 1 − α.
        gamma: γ ≥ 0; the larger, the less classes count that are nearly right.

    Returns:
        ℓ ≥ 0, `[B, H, W]`, in the logits' type.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[1]]]), num_classes=2)
    >>> x = tf.constant([[[[0.0, 0.0]]]])
    >>> round(float(sigmoid_focal(targets, x, gamma=1.0)[0, 0, 0]), 4)  # (¼ + ¾) · ½ log 2
    0.3466

    Reference: Lin et al., *Focal loss for dense object detection*, 2017, Eq. 5, summed over the
    classes; their division by the number of objects has no counterpart here.
    """
    x = tf.where(targets.valid[..., tf.newaxis], logits, 0)
    t = one_hot(targets, x.shape[-1], x.dtype)
    log_p, log_miss = tf.math.log_sigmoid(x), tf.math.log_sigmoid(-x)  # log p, log (1 − p)
    losses = -(
        alpha * t * _power_of_miss(log_p, gamma) * log_p
        + (1 - alpha) * (1 - t) * _power_of_miss(log_miss, gamma) * log_miss
    )
    return tf.where(targets.valid, tf.reduce_sum(losses, axis=-1), 0)


def _power_of_miss(log_p: tf.Tensor, gamma: float) -> tf.Tensor:
    """Return (1 − p)^γ, with a finite derivative where p = 1."""
    tiny = np.finfo(log_p.dtype.as_numpy_dtype).tiny
    return tf.maximum(-tf.math.expm1(log_p), tiny) ** gamma


@keras.saving.register_keras_serializable(package="tfsegloss")
class FocalLoss(PixelLoss):
    """Cross-entropy, weighted down where the prediction is nearly right, then pooled.

    L = pool_V(w_y ℓ), V the valid pixels, w_y the weight of a pixel's class, ℓ from
    `softmax_focal` or `sigmoid_focal`.

    Args:
        alpha: α in [0, 1]: a factor for all classes of a softmax; for sigmoids the weight of the
            pixel's class, that of the others being 1 − α.
        gamma: γ ≥ 0; 0 is cross-entropy.
        activation: "softmax" or "sigmoid".
        from_logits: Whether `y_pred` holds logits (otherwise the activation's probabilities).
        ignore_class: Id or ids without label; None: every pixel counts.
        class_weights: C weights ≥ 0, for one class those of the ids 0 and 1; pixels without class
            weigh 1, those of several classes the mean of theirs; the divisor stays |V|.
        pooling: See `tfsegloss.poolings.pooling`; None: `Mean()`.
        reduction: As in Keras.
        name: As in Keras.

    Call:
        y_true: ids `[B, H, W]` or `[B, H, W, 1]`, or dense targets `[B, H, W, C]`.
        y_pred: `[B, H, W, C]`; C ≥ 2 for a softmax.
        sample_weight: None, `[B]` or `[B, H, W]`.

    Raises:
        ValueError: An option or a shape is not as above.

    Example:

    >>> loss = FocalLoss(alpha=1.0, gamma=1.0)
    >>> round(float(loss(tf.constant([[[1, 255]]]), tf.zeros([1, 1, 2, 2]))), 4)
    0.3466
    """

    def __init__(
        self,
        *,
        alpha: float = 0.25,
        gamma: float = 2.0,
        activation: str = "softmax",
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
            pooling=pooling,
            reduction=reduction,
            name=name,
        )
        self.alpha = check_range("alpha", alpha, 0, 1)
        self.gamma = check_at_least("gamma", gamma, 0)
        self.activation = check_choice("activation", activation, ACTIVATIONS)

    def pixel_losses(self, targets: Targets, logits: tf.Tensor) -> tf.Tensor:
        """Return `softmax_focal` or `sigmoid_focal` with this loss' options, by their kernels."""
        kernel = softmax_focal_losses if self.activation == "softmax" else sigmoid_focal_losses

        def losses(x, targets):
            return kernel(x, targets, self.alpha, self.gamma)

        return xla.compiled_with_gradient(losses, logits, targets, formula=zeroing_ignored(losses))
