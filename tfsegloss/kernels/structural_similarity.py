"""SSL's cross-entropies and their gradient, a block of rows at a time.

The formula is in `tfsegloss.losses.ssl_loss`.
"""

import tensorflow as tf

from tfsegloss.core.targets import Targets, zero_ignored
from tfsegloss.kernels import xla
from tfsegloss.kernels.class_sums import sum_over_classes
from tfsegloss.kernels.row_blocks import inner_rows, map_row_blocks
from tfsegloss.kernels.sigmoid_maps import (
    cross_entropies,
    cross_entropy_gradient,
    truth_and_probabilities,
)
from tfsegloss.kernels.windows import fast_gaussian_mean, mirror_columns


def weighted_cross_entropies(
    targets: Targets,
    logits: tf.Tensor,
    *,
    window_size: int,
    sigma: float,
    stability: float,
    threshold: float | None,
    reweight: bool,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return what `tfsegloss.losses.ssl_loss.structural_similarity` does.

    Args:
        targets: As there.
        logits: As there.
        window_size: As there.
        sigma: As there.
        stability: As there.
        threshold: β e_max, above which a class is hard; None: all are.
        reweight: As there.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[0, 1]]]), num_classes=2)
    >>> options = {"window_size": 3, "sigma": 1.5, "stability": 0.01, "reweight": True}
    >>> logits = tf.zeros([1, 1, 2, 2])
    >>> weighted_cross_entropies(targets, logits, threshold=0.5, **options)[2].numpy().tolist()
    [[[1.0, 1.0]]]
    """
    num_classes = logits.shape[-1]
    margin = window_size // 2

    def forward(x, block):
        """Return ℓ, h, m and the weights e f of a block, as 3 + C maps."""
        y, p = truth_and_probabilities(x, block)
        e = _differences(y, p, window_size, sigma, stability)
        valid = inner_rows(block.valid, margin)
        f = tf.ones_like(e) if threshold is None else tf.cast(e > threshold, x.dtype)
        f = zero_ignored(f, valid)
        weights = e * f if reweight else f
        x, y, p = (inner_rows(maps, margin) for maps in (x, y, p))
        losses = cross_entropies(x, y, p, valid)
        maps = [sum_over_classes(m, num_classes) for m in (losses, weights * losses, f)]
        maps[0] = zero_ignored(maps[0], valid)
        return tf.concat([tf.stack(maps, axis=-1), weights[..., :num_classes]], axis=-1)

    def backward(x, targets, maps, upstream):
        """Return (∂ℓ + e f ∂h) (σ(x) − y)."""
        scale = upstream[0][..., tf.newaxis] + upstream[1][..., tf.newaxis] * maps[..., 3:]
        return cross_entropy_gradient(x, targets, scale)

    # The weights are kept for the gradient: 1.2 × Keras' cross-entropy, and 1.8 where they are
    # computed again, on [2, 513, 513, 21], two cores.
    @tf.custom_gradient
    def losses(x):
        maps = map_row_blocks(forward, x, targets, margin=margin, reflect=True)

        def gradient(*upstream):
            return xla.compiled(backward, x, targets, maps, upstream)

        return tuple(tf.unstack(maps[..., :3], axis=-1)), gradient

    return losses(logits)


def difference_maps(
    targets: Targets,
    logits: tf.Tensor,
    *,
    window_size: int,
    sigma: float,
    stability: float,
    threshold: float | None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return what e is over the classes of each pixel; no gradient flows through it.

    Args:
        targets: From `encode_targets`.
        logits: `[B, H, W, C]`.
        window_size: As in `tfsegloss.losses.ssl_loss.structural_similarity`.
        sigma: As there.
        stability: As there.
        threshold: β e_max, above which a class is hard; None: all are.

    Returns:
        Number of the hard classes, sum of e, least and largest e, each `[B, H, W]`; at ignored
        pixels they mean nothing.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[0, 1]]]), num_classes=2)
    >>> options = {"window_size": 1, "sigma": 1.5, "stability": 0.01, "threshold": 0.1}
    >>> maps = difference_maps(targets, tf.zeros([1, 1, 2, 2]), **options)
    >>> [values[0, 0, 0].numpy().item() for values in maps]
    [2.0, 1.0, 0.5, 0.5]
    """
    margin = window_size // 2

    def forward(x, block):
        y, p = truth_and_probabilities(x, block)
        e = _differences(y, p, window_size, sigma, stability)[..., : x.shape[-1]]
        f = tf.ones_like(e) if threshold is None else tf.cast(threshold < e, x.dtype)
        reduced = [tf.reduce_sum(f, -1), tf.reduce_sum(e, -1)]
        reduced += [tf.reduce_min(e, -1), tf.reduce_max(e, -1)]
        return tf.stack(reduced, axis=-1)

    maps = map_row_blocks(forward, logits, targets, margin=margin, reflect=True)
    return tuple(tf.unstack(maps, axis=-1))


def _differences(
    y: tf.Tensor, p: tf.Tensor, window_size: int, sigma: float, stability: float
) -> tf.Tensor:
    """Return e `[N, rows, W, C]` of maps padded by `window_size // 2` rows."""
    margin = window_size // 2
    if window_size == 1:
        return tf.abs(y - p)

    def standardized(maps):
        maps = mirror_columns(maps, margin)
        mean = fast_gaussian_mean(maps, window_size, sigma)
        square = fast_gaussian_mean(maps * maps, window_size, sigma)
        deviation = tf.sqrt(tf.maximum(square - mean * mean, 0))
        center = maps[:, margin:-margin, margin:-margin]
        return (center - mean + stability) / (deviation + stability)

    return tf.abs(standardized(y) - standardized(p))
