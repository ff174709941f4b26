"""Center loss: the logits of a class' pixels gather around a center that follows them.

`center_distance` is the formula, for readers and for tests; the class takes the same numbers from
`tfsegloss.kernels.center`, which is faster.
"""

from collections.abc import Sequence

import tensorflow as tf

from tfsegloss.core import replicas
from tfsegloss.core.checks import check_at_least, check_range
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.targets import Targets, one_hot, zeroing_ignored
from tfsegloss.kernels import center, xla
from tfsegloss.kernels.pixel_cross_entropy import softmax_losses
from tfsegloss.losses.stateful import StatefulLoss, in_backward_pass


def center_distance(targets: Targets, logits: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
    """Return half the squared distance of the logits from their class' center, pixel by pixel.

    ℓ = ½ Σ_j t_j ‖x − c_j‖², with t the one-hot (or dense) target and c_j the center of class j;
    ½ ‖x − c_y‖² for an id y. The centers are constants in the gradient.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64.
        centers: c, `[C, C]`, a row per class.

    Returns:
        ℓ ≥ 0, `[B, H, W]`, in the logits' type.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[1]]]), num_classes=2)
    >>> x = tf.constant([[[[3.0, 5.0]]]])
    >>> float(center_distance(targets, x, tf.constant([[9.0, 9.0], [0.0, 1.0]]))[0, 0, 0])
    12.5

    Reference: Wen et al., *A discriminative feature learning approach for deep face recognition*,
    2016, Eq. 2.
    """
    x = tf.where(targets.valid[..., tf.newaxis], logits, 0)
    t = one_hot(targets, x.shape[-1], x.dtype)
    centers = tf.stop_gradient(centers)
    squares = [tf.reduce_sum((x - c) ** 2, axis=-1) for c in tf.unstack(centers)]
    losses = tf.reduce_sum(t * tf.stack(squares, axis=-1), axis=-1) / 2
    return tf.where(targets.valid, losses, 0)


def moved_centers(
    targets: Targets, logits: tf.Tensor, centers: tf.Tensor, *, alpha: float = 0.5
) -> tf.Tensor:
    """Return the centers after a step towards the logits of their class' pixels.

    c_j ← c_j − α Σ_i t_ij (c_j − x_i) / (1 + Σ_i t_ij), i the valid pixels of all images on all
    replicas.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64.
        centers: c, `[C, C]`, a row per class.
        alpha: α in [0, 1].

    Returns:
        `[C, C]`, without gradient.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[1, 1, 255]]]), num_classes=2)
    >>> x = tf.constant([[[[3.0, 0.0], [3.0, 6.0], [8.0, 8.0]]]])
    >>> moved_centers(targets, x, tf.zeros([2, 2])).numpy().tolist()
    [[0.0, 0.0], [1.0, 1.0]]

    Reference: Wen et al., 2016, Eq. 4 and Algorithm 1.
    """
    local = xla.compiled(center.class_sums, targets, logits)
    sums, counts = (replicas.global_sum(value) for value in local)
    counts = tf.cast(counts, sums.dtype)[:, tf.newaxis]
    return tf.stop_gradient(centers - alpha * (counts * centers - sums) / (1 + counts))


@keras.saving.register_keras_serializable(package="tfsegloss")
class CenterLoss(StatefulLoss):
    """Cross-entropy of a softmax beside the distance of the logits from their class' center.

    L = mean_V −log softmax(x)_y + λ · mean_V ½ ‖x − c_y‖²

    V are the valid pixels of the global batch, λ = `weight`, c the centers, which start at 0: see
    `center_distance`. In the backward pass they move (see `moved_centers`), so what only
    evaluates leaves them alone; they stay where a batch would make them infinite. If one instance
    serves two outputs, only the last backward pass of a step moves them: give each output its own.
    `parts` returns the terms as "cross_entropy" and "center".

    With `from_logits=False`, the features are the logarithms of the probabilities.

    Args:
        alpha: α in [0, 1], how fast the centers move.
        weight: λ ≥ 0.
        from_logits: Whether `y_pred` holds logits (otherwise the probabilities of a softmax).
        ignore_class: Id or ids without label; None: every pixel counts.
        reduction: As in Keras.
        name: As in Keras.

    Call:
        y_true: ids `[B, H, W]` or `[B, H, W, 1]`, or dense targets `[B, H, W, C]`.
        y_pred: `[B, H, W, C]`, C ≥ 2, the same C in every call.
        sample_weight: None, `[B]` or `[B, H, W]`; the centers do not see it.

    Raises:
        ValueError: An option or a shape is not as above, or in eager mode a logit of a labelled
            pixel is −∞ (in a graph the value is NaN or ∞).

    Example:

    >>> loss, x = CenterLoss(weight=1.0), tf.constant([[[[3.0, 5.0]]]])
    >>> {name: round(float(part), 4) for name, part in loss.parts([[[1]]], x).items()}
    {'cross_entropy': 0.1269, 'center': 17.0}

    Reference: Wen et al., *A discriminative feature learning approach for deep face recognition*,
    2016, Eq. 5, with the mean over the pixels instead of their sum. Its features are those of the
    layer before the logits, and LAD (Guo et al., 2018), which compares with it, does not say which
    it took; a Keras loss sees the logits alone, so they are the features here.
    """

    activation = "softmax"
    needs_finite_logits = True

    def __init__(
        self,
        *,
        alpha: float = 0.5,
        weight: float = 3e-4,
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            from_logits=from_logits, ignore_class=ignore_class, reduction=reduction, name=name
        )
        self.alpha = check_range("alpha", alpha, 0, 1)
        self.weight = check_at_least("weight", weight, 0)

    def initial_state(self, num_classes: int) -> tf.Tensor:
        """Return the centers, 0."""
        return tf.zeros([num_classes, num_classes], self.dtype)

    def build(self, num_classes: int) -> None:
        """Make the centers, if they are not there yet, or check that they are of as many classes.

        Args:
            num_classes: Number of classes C.
        """
        super().build(num_classes)
        if self._state.shape[0] != num_classes:
            raise ValueError(
                f"`y_pred` must have {self._state.shape[0]} classes, as many as the centers of "
                f"this loss. Received: {num_classes}"
            )

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Return the cross-entropy and the distance from the centers."""
        centers = tf.cast(tf.identity(self._state), logits.dtype)  # as they are before any move

        def move():
            moved = moved_centers(targets, logits, centers, alpha=self.alpha)
            # One bad batch, which the optimizer may skip, must not spoil all that follow.
            sound = targets.in_range & tf.reduce_all(tf.math.is_finite(moved))
            moved = tf.where(sound, moved, centers)
            self._state.assign(tf.cast(moved, self._state.dtype))

        def both(x, targets, centers):
            return softmax_losses(x, targets), center.distances(x, targets, centers)

        # In one cluster, for one pass over the logits and one over their gradient.
        x = in_backward_pass(logits, move)
        maps = xla.compiled_with_gradient(both, x, targets, centers, formula=zeroing_ignored(both))
        return {
            name: replicas.mean_over_pixels(losses, targets.valid, pixel_weights)
            for name, losses in zip(("cross_entropy", "center"), maps, strict=True)
        }

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return cross-entropy + λ · center."""
        return terms["cross_entropy"] + self.weight * terms["center"]
