"""Affinity fields: neighbors of one class agree in their probabilities, others differ."""

import itertools
from collections.abc import Sequence

import tensorflow as tf

from tfsegloss.core import replicas
from tfsegloss.core.checks import check_at_least, check_integer
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.shapes import sizes
from tfsegloss.core.targets import Targets, classes, one_hot, zeroing_ignored
from tfsegloss.kernels import affinity_pairs, downsampling, xla
from tfsegloss.kernels.affinity_pairs import LOW
from tfsegloss.kernels.pixel_cross_entropy import softmax_losses
from tfsegloss.losses.stateful import StatefulLoss, in_backward_pass

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
    """Return how probabilities of neighbors diverge, within classes and across their edges.

    With KL_ijc = p_jc log(p_jc / p_ic) + q_jc log(q_jc / q_ic), q = 1 − p + 1e-4, p = softmax(x)
    clipped to [1e-4, 1], i a pixel of the downsampled image, j each of its 8 neighbors at the
    distance `distance`, c a class, t the downsampled one-hot truth, which of dense targets is the
    class of the largest share, the first of equal ones (where all are 0, t is 0 in all channels):

    - non_edge: mean of KL_ijc over all (i, j, c) with t_ic = t_jc;
    - edge: mean of max(0, margin − KL_ijc) over those with t_ic ≠ t_jc.

    Beyond the image's border p_j = 1e-4 and t_j = 0. Pairs with an ignored pixel are dropped. The
    means are over the pairs of all images on all replicas; a mean over none is 0.

    Logits, 0 at ignored pixels, are resized to max(1, H // downsample_factor) rows bilinearly with
    aligned corners; the truth's row i is ⌊i · H / H'⌋. Columns likewise.

    This is the formula; `AffinityFieldLoss` runs `tfsegloss.kernels.affinity_pairs`, which gives
    the same.

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
    x = downsampling.bilinear(logits, targets.valid, downsample_factor)
    small = _downsampled_truth(targets, x.shape[-1], x.dtype, downsample_factor)
    return _means(*pair_sums(x, *small, distance=distance, margin=margin))


def pair_sums(
    x: tf.Tensor, truth: tf.Tensor, valid: tf.Tensor, *, distance: int, margin: float
) -> list[tf.Tensor]:
    """Return the sums of the two terms over the pairs of each image, and the numbers of pairs.

    Args:
        x: Downsampled logits, `[B, H', W', C]`.
        truth: t, as x.
        valid: bool `[B, H', W']`.
        distance: As for `affinity_field`.
        margin: As for `affinity_field`.

    Returns:
        Sums of the edges and of the other pairs, and the number of both, each `[B]`.
    """
    low = tf.constant(LOW, x.dtype)
    height, width = sizes(x)[1:3]

    def neighbors(maps, row, column):  # 0 beyond the border
        margins = [[0, 0], [distance, distance], [distance, distance], [0, 0]]
        maps = tf.pad(maps, margins)
        row, column = distance + row, distance + column
        return maps[:, row : row + height, column : column + width]

    p_i = tf.clip_by_value(tf.nn.softmax(x), low, 1)
    q_i, t_i, valid_i = 1 - p_i + low, truth, valid[..., tf.newaxis]
    sums = []
    for row, column in itertools.product((-distance, 0, distance), repeat=2):
        if row == column == 0:
            continue
        p_j, t_j = tf.maximum(neighbors(p_i, row, column), low), neighbors(t_i, row, column)
        q_j = 1 - p_j + low
        divergence = p_j * tf.math.log(p_j / p_i) + q_j * tf.math.log(q_j / q_i)
        kept = valid_i & ~neighbors(~valid_i, row, column)
        edge, non_edge = (t_i != t_j) & kept, (t_i == t_j) & kept
        terms = (
            tf.where(edge, tf.maximum(margin - divergence, 0), 0),
            tf.where(non_edge, divergence, 0),
            tf.cast(edge, tf.int64),
            tf.cast(non_edge, tf.int64),
        )
        sums.append([tf.reduce_sum(term, axis=[1, 2, 3]) for term in terms])
    return [tf.add_n(terms) for terms in zip(*sums, strict=True)]


def _means(
    edge: tf.Tensor, non_edge: tf.Tensor, edge_count: tf.Tensor, non_edge_count: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Return the means over the pairs of all images on all replicas, from sums of each image."""
    # In float64: there may be more than 2^24 pairs.
    edges, non_edges = (
        tf.reduce_sum(tf.cast(count, tf.float64)) for count in (edge_count, non_edge_count)
    )
    return {
        "edge": replicas.normalize_globally(edge, edges),
        "non_edge": replicas.normalize_globally(non_edge, non_edges),
    }


def _downsampled_truth(
    targets: Targets, num_classes: int, dtype: tf.DType, factor: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the nearest one-hot truth `[B, H', W', C]` and whether it counts `[B, H', W']`."""
    small = {
        name: None if maps is None else downsampling.nearest(maps, factor)
        for name, maps in targets._asdict().items()
        if name != "in_range"
    }
    small = targets._replace(**small)
    # Not the shares themselves: they differ between nearly all neighbors, of one class too.
    of_classes = small._replace(ids=classes(small), dense=None)
    return one_hot(of_classes, num_classes, dtype), small.valid


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
        y_true: ids `[B, H, W]` or `[B, H, W, 1]`, or dense targets `[B, H, W, C]`, whose shares the
            cross-entropy alone sees.
        y_pred: `[B, H, W, C]`, C ≥ 2.
        sample_weight: None, `[B]`, or `[B, H, W]`, which the cross-entropy alone sees.

    Raises:
        ValueError: An option or a shape is not as above, or in eager mode a logit of a labelled
            pixel is −∞ (in a graph the value is NaN or ∞).

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
    needs_finite_logits = True

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
        """Return that there was no backward pass so far."""
        return tf.zeros([], tf.int64)

    def build(self, num_classes: int) -> None:
        """Make the count of backward passes, where there is a decay.

        Args:
            num_classes: Number of classes C.
        """
        if self.decay_steps is not None:
            super().build(num_classes)

    def terms(
        self, targets: Targets, logits: tf.Tensor, pixel_weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Return the cross-entropy, and the decayed terms of the edges and of the other pairs."""
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
        losses, resized = xla.compiled_with_gradient(
            losses_and_resized, logits, targets, formula=zeroing_ignored(losses_and_resized)
        )
        # In a cluster of its own: beside the resizing, XLA may compute the pairs for each pixel.
        options = {"distance": self.distance, "margin": self.margin}
        sums = xla.compiled_with_gradient(
            lambda x, small: affinity_pairs.pair_sums(x, *small, **options),
            resized,
            small,
            formula=lambda x, small: pair_sums(x, *small, **options),
        )
        fields = _means(*sums)
        if decay is not None:
            fields = {name: decay * term for name, term in fields.items()}
        mean = replicas.mean_over_pixels(losses, targets.valid, pixel_weights)
        return {"cross_entropy": mean, **fields}

    def combine(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return cross-entropy + λ_e · edge + λ_n · non_edge."""
        return (
            terms["cross_entropy"]
            + self.edge_weight * terms["edge"]
            + self.non_edge_weight * terms["non_edge"]
        )
