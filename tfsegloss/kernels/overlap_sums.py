"""What the overlap of predicted and true regions is made of, in one pass over the logits.

The formula is in `tfsegloss.losses.overlap`.
"""

import tensorflow as tf

from tfsegloss.core.targets import Targets, one_hot, zero_ignored
from tfsegloss.kernels import xla
from tfsegloss.kernels.class_sums import softmax


def overlap_sums(
    targets: Targets,
    logits: tf.Tensor,
    alpha: float,
    beta: float,
    activation: str,
    pixel_weights: tf.Tensor | None = None,
) -> list[tf.Tensor]:
    """Return TP, α FP + β FN and Σ t of each image, and the second one weighted.

    Args:
        targets: Of `[B, H, W]`.
        logits: `[B, H, W, C]`.
        alpha: α.
        beta: β.
        activation: "softmax" or "sigmoid".
        pixel_weights: w `[B, H, W]`; None: there is no fourth sum.

    Returns:
        Three or four sums `[B, C]`.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[0, 1]]]), num_classes=2)
    >>> sums = overlap_sums(targets, tf.zeros([1, 1, 2, 2]), 1.0, 0.5, "softmax")
    >>> [s.numpy().tolist() for s in sums]
    [[[0.5, 0.5]], [[0.75, 0.75]], [[1.0, 1.0]]]
    """

    def row_sums(x, targets, *weights):
        t = one_hot(targets, x.shape[-1], x.dtype)
        p = (softmax if activation == "softmax" else tf.sigmoid)(zero_ignored(x, targets.valid))
        p = zero_ignored(p, targets.valid)
        missed = alpha * p * (1 - t) + beta * (1 - p) * t
        maps = [p * t, missed, t, *(missed * w[..., tf.newaxis] for w in weights)]
        return tuple(tf.reduce_sum(m, axis=2) for m in maps)  # [B, H, C]

    weights = () if pixel_weights is None else (pixel_weights,)
    sums = xla.compiled_with_gradient(row_sums, logits, targets, *weights)
    # Not in the cluster: XLA would add a column up number by number, and lose digits.
    return [tf.reduce_sum(s, axis=1) for s in sums]
