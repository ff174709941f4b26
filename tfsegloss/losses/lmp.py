"""Loss max-pooling: cross-entropy under the pixel weights that make it largest."""

from collections.abc import Sequence

from tfsegloss.core.keras_versions import keras
from tfsegloss.losses.cross_entropy import SoftmaxCrossEntropy
from tfsegloss.poolings.max_pooling import MaxPooling


@keras.saving.register_keras_serializable(package="tfsegloss")
class LMPLoss(SoftmaxCrossEntropy):
    """Cross-entropy of a softmax, max-pooled image by image: `MaxPooling` of its pixel losses.

    L = mean_b max_{w ∈ W} Σ_i w_i ℓ_i,  W = {w: ‖w‖_p ≤ γ, ‖w‖_∞ ≤ τ}

    See `optimal_weights` for the symbols. The same pooling goes with every other pixel loss:
    `FocalLoss(pooling=MaxPooling())`.

    Args:
        p: ≥ 1; ∞ gives the mean of each image, averaged over the images.
        fraction: In (0, 1]; 1 gives what p = ∞ gives.
        from_logits: Whether `y_pred` holds logits (otherwise the probabilities of a softmax).
        ignore_class: Id or ids without label; None: every pixel counts.
        class_weights: C weights ≥ 0 that multiply ℓ before the pooling. None: all 1.
        label_smoothing: In [0, 1].
        reduction: As in Keras.
        name: As in Keras.

    Call:
        y_true: ids `[B, H, W]` or `[B, H, W, 1]`, or dense targets `[B, H, W, C]`.
        y_pred: `[B, H, W, C]`, C ≥ 2.
        sample_weight: None, `[B]`, or `[B, H, W]`, which multiplies ℓ before the pooling.

    Raises:
        ValueError: An option or a shape is not as above.

    Example:

    >>> loss = LMPLoss(p=1, fraction=0.5)
    >>> logits = tf.constant([[[[0.0, 0.0], [9.0, 0.0]]]])
    >>> round(float(loss(tf.constant([[[0, 0]]]), logits)), 4)  # of the harder half
    0.6931

    Reference: LMP (Rota Bulò et al., 2017), Eq. 4 and 5, on the loss of Eq. 2; p = 1.3 and 25 % are
    its best (section 5.2). n counts valid pixels, per image as the paper's per crop.
    """

    def __init__(
        self,
        *,
        p: float = 1.3,
        fraction: float = 0.25,
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            from_logits=from_logits,
            ignore_class=ignore_class,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
            pooling=MaxPooling(p, fraction),
            reduction=reduction,
            name=name,
        )
        self.p = self.pooling.p
        self.fraction = self.pooling.fraction
