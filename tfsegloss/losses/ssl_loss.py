"""Structural similarity loss: cross-entropy weighed by how much the local structures differ."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfsegloss.core import replicas
from tfsegloss.core.checks import check_below_one, check_odd, check_positive, check_range
from tfsegloss.core.targets import Targets, zero_ignored
from tfsegloss.kernels import sigmoid_maps, xla
from tfsegloss.kernels.local_structure import differences_of_rows, largest_difference
from tfsegloss.kernels.row_blocks import inner_rows, map_row_blocks, sum_over_classes
from tfsegloss.kernels.sigmoid_maps import cross_entropies, truth_and_probabilities
from tfsegloss.losses.base import SegmentationLoss


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
    """Pixel cross-entropies, the same over hard classes weighed by difference, and their number.

    ℓ = Σ_c BCE_c,  h = Σ_c e_c f_c BCE_c,  m = Σ_c f_c,  f = 1[e > β e_max]

    e is the `structural_difference` of the truth and of σ(x), both 0 at ignored pixels, mirrored at
    the border. e and f are constants in the gradient. The loss is Σh / Σm, or Σℓ / |V|.

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
    num_classes = logits.shape[-1]
    margin = window_size // 2
    threshold = beta * largest_difference(window_size, sigma, stability)

    def forward(x, block):
        """ℓ, h, m and the weights e f of a block, as 3 + C maps."""
        y, p = truth_and_probabilities(x, block)
        e = differences_of_rows(y, p, window_size=window_size, sigma=sigma, stability=stability)
        valid = inner_rows(block.valid, margin)
        f = zero_ignored(tf.cast(e > threshold, x.dtype) if mine else tf.ones_like(e), valid)
        weights = e * f if reweight else f
        x, y, p = (inner_rows(maps, margin) for maps in (x, y, p))
        losses = cross_entropies(x, y, p, valid)
        maps = [sum_over_classes(m, num_classes) for m in (losses, weights * losses, f)]
        maps[0] = zero_ignored(maps[0], valid)
        return tf.concat([tf.stack(maps, axis=-1), weights[..., :num_classes]], axis=-1)

    def backward(x, targets, maps, upstream):
        """(∂ℓ + e f ∂h) (σ(x) − y)."""
        scale = upstream[0][..., tf.newaxis] + upstream[1][..., tf.newaxis] * maps[..., 3:]
        return sigmoid_maps.slopes(x, targets, scale)

    # The weights are kept for the gradient: to compute them again takes longer than to write them.
    @tf.custom_gradient
    def losses(x):
        maps = map_row_blocks(forward, x, targets, margin=margin, reflect=True)

        def gradient(*upstream):
            return xla.compiled(backward, x, targets, maps, upstream)

        return tuple(tf.unstack(maps[..., :3], axis=-1)), gradient

    return losses(logits)


@keras.saving.register_keras_serializable(package="tfsegloss")
class SSLLoss(SegmentationLoss):
    """Cross-entropy of sigmoids beside the one of hard pixels, weighed by structural difference.

    L = λ · Σ_V Σ_c BCE_c / |V| + (1 − λ) · Σ_V Σ_c e f BCE_c / M,  M = Σ_V Σ_c f

    λ = `weight`, V the valid pixels of the global batch, M counted over it too; the second term is
    0 where M = 0. For e and f see `structural_similarity`. `parts` returns the terms as
    "cross_entropy" and "structure".

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
    sum over the classes, averaged over pixels, against a mean over pairs of pixel and class.
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
        """The cross-entropy and the structure term."""
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
        """Σ_c BCE_c, the number of hard classes Σ_c f_c, and the largest difference max_c e_c."""
        options = {"sigma": self.sigma, "stability": self.stability}
        margin = self.window_size // 2

        def largest(x, block):
            y, p = truth_and_probabilities(x, block)
            e = differences_of_rows(y, p, window_size=self.window_size, **options)
            e = e[..., : x.shape[-1]]
            return zero_ignored(tf.reduce_max(e, -1), inner_rows(block.valid, margin))

        difference = map_row_blocks(largest, logits, targets, margin=margin, reflect=True)
        total, _, count = self._cross_entropies(targets, logits)
        return {"cross_entropy": total, "hard": tf.cast(count, tf.int32), "difference": difference}

    def _cross_entropies(
        self, targets: Targets, logits: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """`structural_similarity` with this loss' options."""
        return structural_similarity(
            targets,
            logits,
            window_size=self.window_size,
            sigma=self.sigma,
            beta=self.beta,
            stability=self.stability,
            reweight=self.reweight,
            mine=self.mine,
        )

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """λ · cross-entropy + (1 − λ) · structure."""
        return self.weight * terms["cross_entropy"] + (1 - self.weight) * terms["structure"]
