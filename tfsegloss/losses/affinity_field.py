"""Affinity fields: neighbors of one class agree in their probabilities, others differ."""

import itertools
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfsegloss.core import replicas
from tfsegloss.core.checks import check_at_least, check_integer
from tfsegloss.core.shapes import sizes
from tfsegloss.core.targets import Targets, one_hot
from tfsegloss.kernels import downsampling, xla
from tfsegloss.kernels.affinity_pairs import pair_sums
from tfsegloss.kernels.pixel_cross_entropy import softmax_losses
from tfsegloss.losses.stateful import StatefulLoss, in_backward_pass

# The authors' code keeps probabilities in [LOW, 1], and adds it to 1 − p.
LOW = 1e-4
# What the decay has come to after `decay_steps`, of the authors' code: 1/20.
DECAY_BASE = 20.0


def affinity_field(
    targets: Targets,
    logits: tf.Tensor,
    *,
    distance: int = 1,
    margin: float = 3.0,
    downsample_factor: int = 8,
) -> dict[str, tf.Tensor]:
    """Divergence of the probabilities of neighbors, within classes and across their edges.

    With KL_ijc = p_jc log(p_jc / p_ic) + q_jc log(q_jc / q_ic), q = 1 − p + 1e-4, p = softmax(x)
    clipped to [1e-4, 1], i a pixel of the downsampled image, j each of its 8 neighbors at the
    distance `distance`, c a class, t the downsampled one-hot truth:

    - non_edge: mean of KL_ijc over all (i, j, c) with t_ic = t_jc;
    - edge: mean of max(0, margin − KL_ijc) over those with t_ic ≠ t_jc.

    Beyond the image's border p_j = 1e-4 and t_j = 0. Pairs with an ignored pixel are dropped. The
    means are over the pairs of all images on all replicas; a mean over none is 0.

    Logits, 0 at ignored pixels, are resized to max(1, H // downsample_factor) rows bilinearly with
    aligned corners; the truth's row i is ⌊i · H / H'⌋. Columns likewise.

    Args:
        targets: From `encode_targets`.
        logits: x, `[B, H, W, C]`, float32 or float64.
        distance: ≥ 1, in pixels of the downsampled image.
        margin: ≥ 0, the divergence that is enough across an edge.
        downsample_factor: ≥ 1.

    Returns:
        "edge" and "non_edge", each `[B]`, such that Keras' mean over the global batch is the mean
        over the pairs.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.constant([[[0, 0, 1, 1]]]), num_classes=2)
    >>> x = tf.constant([[[[9.0, 0.0], [9.0, 0.0], [0.0, 9.0], [0.0, 9.0]]]])
    >>> terms = affinity_field(targets, x, downsample_factor=1)
    >>> blank = affinity_field(targets, 0 * x, downsample_factor=1)
    >>> [bool(terms[name] < blank[name]) for name in ("edge", "non_edge")]
    [True, True]

    Reference: Ke et al., *Adaptive affinity fields for semantic segmentation*, 2018, section
    3, with the size of the field fixed instead of chosen by an adversary, as the authors of RMI
    (Zhao et al., 2019) ran it: the downsampling, the clipping and the pairs across the border are
    theirs.
    Deviations from their code: pairs with an ignored pixel are dropped, as Ke et al. do; the
    logits of ignored pixels are 0 before they are resized; a mean over no pair is 0, not NaN.
    """
    small = _downsampled_truth(targets, logits.shape[-1], logits.dtype, downsample_factor)
    resized = xla.compiled_with_gradient(
        lambda x, valid: downsampling.bilinear(x, valid, downsample_factor), logits, targets.valid
    )
    return _pair_means(resized, small, distance, margin)


def _pair_means(
    resized: tf.Tensor, small: tuple[tf.Tensor, tf.Tensor], distance: int, margin: float
) -> dict[str, tf.Tensor]:
    """The two means, each `[B]`, of downsampled logits and of `_downsampled_truth`."""
    # In a cluster of its own: beside the resizing, XLA may compute the pairs again for each pixel.
    edge, non_edge, *counts = xla.compiled_with_gradient(
        lambda x, small: pair_sums(x, *small, distance=distance, margin=margin), resized, small
    )
    edges, non_edges = (tf.reduce_sum(tf.cast(n, tf.float64)) for n in counts)
    return {
        "edge": replicas.normalize_globally(edge, edges),
        "non_edge": replicas.normalize_globally(non_edge, non_edges),
    }


def _pair_sums(
    x: tf.Tensor, truth: tf.Tensor, valid: tf.Tensor, distance: int, margin: float
) -> tuple[tf.Tensor, ...]:
    """Sum and number of the edges' terms and of the others', each `[B]`, of downsampled maps."""
    height, width = sizes(x)[1:3]
    padding = [[0, 0], [distance, distance], [distance, distance]]
    low = tf.constant(LOW, x.dtype)
    p = tf.clip_by_value(tf.nn.softmax(x), low, 1)
    p = tf.pad(p, [*padding, [0, 0]], constant_values=low)
    q = 1 - p + low
    fields = (p, tf.math.log(p), q, tf.math.log(q), tf.pad(truth, [*padding, [0, 0]]))
    valid = tf.pad(valid, padding, constant_values=True)

    def neighbor(maps, rows, columns):
        rows, columns = distance + rows, distance + columns
        return maps[:, rows : rows + height, columns : columns + width]

    center = [neighbor(maps, 0, 0) for maps in fields]
    sums = [0, 0, 0, 0]
    for rows, columns in itertools.product((-distance, 0, distance), repeat=2):
        if rows == columns == 0:
            continue
        p, log_p, q, log_q, truth = (neighbor(maps, rows, columns) for maps in fields)
        divergence = p * (log_p - center[1]) + q * (log_q - center[3])  # [B, H', W', C]
        kept = neighbor(valid, 0, 0) & neighbor(valid, rows, columns)
        edge = truth != center[4]
        is_edge = tf.cast(edge & kept[..., tf.newaxis], x.dtype)
        non_edge = tf.cast(~edge & kept[..., tf.newaxis], x.dtype)
        terms = (
            is_edge * tf.nn.relu(margin - divergence),
            is_edge,
            non_edge * divergence,
            non_edge,
        )
        sums = [
            s + tf.reduce_sum(term, axis=[1, 2, 3]) for s, term in zip(sums, terms, strict=True)
        ]
    return tuple(sums)


def _downsampled_truth(
    targets: Targets, num_classes: int, dtype: tf.DType, factor: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The nearest one-hot truth `[B, H', W', C]` and whether it counts `[B, H', W']`."""

    small = {
        name: None if maps is None else downsampling.nearest(maps, factor)
        for name, maps in targets._asdict().items()
        if name != "in_range"
    }
    small = targets._replace(**small)
    return one_hot(small, num_classes, dtype), small.valid


@keras.saving.register_keras_serializable(package="tfsegloss")
class AffinityFieldLoss(StatefulLoss):
    """Cross-entropy of a softmax beside affinity fields.

    L = mean_V −log softmax(x)_y + d · (λ_e · edge + λ_n · non_edge)

    V are the valid pixels of the global batch, λ_e = `edge_weight`, λ_n = `non_edge_weight`; for
    edge and non_edge see `affinity_field`. d = 20^(−s / decay_steps), s the number of backward
    passes so far (what only evaluates is not counted); 1 without `decay_steps`. `parts` returns
    "cross_entropy", and "edge" and "non_edge" as decayed.

    Args:
        distance: ≥ 1, the distance of a neighbor in pixels of the downsampled image.
        margin: ≥ 0, the divergence that is enough across an edge.
        edge_weight: λ_e ≥ 0.
        non_edge_weight: λ_n ≥ 0.
        downsample_factor: ≥ 1.
        decay_steps: > 0, the steps of the whole training, or None.
        from_logits: Whether `y_pred` holds logits (otherwise the probabilities of a softmax).
        ignore_class: Id or ids without label; None: every pixel counts.
        reduction: As in Keras.
        name: As in Keras.

    Call:
        y_true: ids `[B, H, W]` or `[B, H, W, 1]`, or dense targets `[B, H, W, C]`.
        y_pred: `[B, H, W, C]`, C ≥ 2.
        sample_weight: None, `[B]`, or `[B, H, W]`, which the cross-entropy alone sees.

    Raises:
        ValueError: An option or a shape is not as above.

    Example:

    >>> loss = AffinityFieldLoss()
    >>> truth = tf.reshape(tf.range(1024) // 512, [1, 32, 32])
    >>> right = tf.one_hot(truth, 2) * 20 - 10
    >>> bool(loss(truth, right) < loss(truth, -right))
    True

    Reference: Ke et al., *Adaptive affinity fields for semantic segmentation*, 2018, as the
    authors of RMI (Zhao et al., 2019) ran it; the deviations are named in `affinity_field`. A step
    that a loss-scaling optimizer skips is a backward pass all the same.
    """

    activation = "softmax"

    def __init__(
        self,
        *,
        distance: int = 1,
        margin: float = 3.0,
        edge_weight: float = 1.0,
        non_edge_weight: float = 1.0,
        downsample_factor: int = 8,
        decay_steps: int | None = None,
        from_logits: bool = True,
        ignore_class: int | Sequence[int] | None = 255,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(
            from_logits=from_logits, ignore_class=ignore_class, reduction=reduction, name=name
        )
        self.distance = check_integer("distance", distance, 1)
        self.margin = check_at_least("margin", margin, 0)
        self.edge_weight = check_at_least("edge_weight", edge_weight, 0)
        self.non_edge_weight = check_at_least("non_edge_weight", non_edge_weight, 0)
        self.downsample_factor = check_integer("downsample_factor", downsample_factor, 1)
        if decay_steps is not None:
            decay_steps = check_integer("decay_steps", decay_steps, 1)
        self.decay_steps = decay_steps

    def initial_state(self, num_classes: int) -> tf.Tensor:
        """No backward pass so far."""
        return tf.zeros([], tf.int64)

    def build(self, num_classes: int) -> None:
        """Makes the count of backward passes, where there is a decay.

        Args:
            num_classes: Number of classes C.
        """
        if self.decay_steps is not None:
            super().build(num_classes)

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """The cross-entropy, and the decayed terms of the edges and of the other pairs."""
        decay = None
        if self.decay_steps is not None:
            passes = tf.identity(self._state)
            decay = DECAY_BASE ** (-tf.cast(passes, logits.dtype) / self.decay_steps)
            logits = in_backward_pass(logits, lambda: self._state.assign(passes + 1))
        small = _downsampled_truth(targets, logits.shape[-1], logits.dtype, self.downsample_factor)

        def losses_and_resized(x, targets):
            resized = downsampling.bilinear(x, targets.valid, self.downsample_factor)
            return softmax_losses(x, targets), resized

        # In one cluster, for one pass over the gradient of the logits.
        losses, resized = xla.compiled_with_gradient(losses_and_resized, logits, targets)
        fields = _pair_means(resized, small, self.distance, self.margin)
        if decay is not None:
            fields = {name: decay * term for name, term in fields.items()}
        mean = replicas.mean_over_pixels(losses, targets.valid, pixel_weights)
        return {"cross_entropy": mean, **fields}

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """Cross-entropy + λ_e · edge + λ_n · non_edge."""
        return (
            terms["cross_entropy"]
            + self.edge_weight * terms["edge"]
            + self.non_edge_weight * terms["non_edge"]
        )
