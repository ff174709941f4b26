"""Sums over the pairs of neighbors of affinity fields, with their gradient.

The formula is in `tfsegloss.losses.affinity_field`.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfsegloss.core.shapes import sizes
from tfsegloss.kernels import xla

# The authors' code keeps probabilities in [LOW, 1], and adds it to 1 − p.
LOW = 1e-4


class _Fields(NamedTuple):
    """Maps of a pixel, `[B, H', W', C]` or padded by the distance on every side."""

    p: tf.Tensor
    log_p: tf.Tensor
    q: tf.Tensor  # 1 − p + LOW
    log_q: tf.Tensor
    truth: tf.Tensor
    valid: tf.Tensor  # bool, with 1 for C; beyond the border True
    inside: tf.Tensor  # bool, with 1 for C; beyond the border False


def pair_sums(
    logits: tf.Tensor, truth: tf.Tensor, valid: tf.Tensor, *, distance: int, margin: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the sums of the edges' terms and of the others', and the numbers of both.

    Args:
        logits: Downsampled, `[B, H', W', C]`.
        truth: As the logits, 0 where not valid.
        valid: bool `[B, H', W']`.
        distance: ≥ 1, in pixels.
        margin: ≥ 0.

    Returns:
        Σ max(0, margin − KL) over edges, Σ KL over the other pairs, in the logits' type, and the
        number of both, int64; each `[B]`.

    Example:

    >>> x, truth = tf.zeros([1, 1, 1, 2]), tf.constant([[[[1.0, 0.0]]]])
    >>> valid = tf.constant([[[True]]])
    >>> sums = pair_sums(x, truth, valid, distance=1, margin=3.0)
    >>> [int(n[0]) for n in sums[2:]]  # of eight neighbors beyond the border
    [8, 8]
    """

    @tf.custom_gradient
    def sums(p):
        fields = _padded_fields(p, truth, valid, distance)

        def add(row, column, totals):
            ours, theirs = (_place(fields, *at, p) for at in ((distance, distance), (row, column)))
            edge, divergence, kept, is_edge = _terms(ours, theirs, margin)
            found = (
                tf.where(is_edge & kept, edge, 0),
                tf.where(~is_edge & kept, divergence, 0),
                tf.cast(is_edge & kept, tf.int32),
                tf.cast(~is_edge & kept, tf.int32),
            )
            return [
                total + tf.cast(tf.reduce_sum(maps, axis=[1, 2, 3]), total.dtype)
                for total, maps in zip(totals, found, strict=True)
            ]

        zero = tf.zeros([sizes(p)[0]], p.dtype)
        count = tf.zeros([sizes(p)[0]], tf.int64)  # of eight neighbors int32 may not hold it
        values = _over_neighbors(add, (zero, zero, count, count), distance)

        def gradient(by_edge, by_non_edge, *_):
            by_edge, by_non_edge = (
                u[:, tf.newaxis, tf.newaxis, tf.newaxis] for u in (by_edge, by_non_edge)
            )

            def by_divergence(ours, theirs):
                edge, _, kept, is_edge = _terms(ours, theirs, margin)
                of_edge = tf.where(edge > 0, -by_edge, 0)
                return tf.where(kept, tf.where(is_edge, of_edge, by_non_edge), 0)

            def add(row, column, totals):
                ours, theirs = (
                    _place(fields, *at, p) for at in ((distance, distance), (row, column))
                )
                # Of the pair in which the pixel is the center, and of that in which it is the
                # neighbor, if the other one is in the image. Only p_i / p_j has no log in it.
                by_center = by_divergence(ours, theirs)
                by_center *= theirs.q / ours.q - theirs.p / ours.p
                by_neighbor = tf.where(theirs.inside, by_divergence(theirs, ours), 0)
                by_neighbor *= (ours.log_p - theirs.log_p) - (ours.log_q - theirs.log_q)
                return [totals[0] + by_center + by_neighbor]

            return _over_neighbors(add, (tf.zeros_like(p),), distance)[0]

        return values, gradient

    return sums(tf.clip_by_value(tf.nn.softmax(logits), tf.constant(LOW, logits.dtype), 1))


def _padded_fields(p: tf.Tensor, truth: tf.Tensor, valid: tf.Tensor, distance: int) -> _Fields:
    margins = [[0, 0], [distance, distance], [distance, distance], [0, 0]]
    # Zeros first: `tf.vectorized_map` pads with them whatever `constant_values` says.
    p = tf.maximum(tf.pad(p, margins), tf.constant(LOW, p.dtype))
    q = 1 - p + LOW
    truth = tf.pad(truth, margins)
    valid = valid[..., tf.newaxis]
    inside = tf.pad(tf.ones_like(valid), margins)
    valid = tf.pad(valid, margins) | ~inside
    return _Fields(p, tf.math.log(p), q, tf.math.log(q), truth, valid, inside)


def _place(fields: _Fields, row: int | tf.Tensor, column: int | tf.Tensor, p: tf.Tensor) -> _Fields:
    """Return the fields of the pixels that start at a row and a column, as many as p has."""
    return _Fields(
        *(tf.slice(m, [0, row, column, 0], [*sizes(p)[:3], sizes(m)[3]]) for m in fields)
    )


def _terms(
    center: _Fields, neighbor: _Fields, margin: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return max(0, margin − KL), KL, whether the pair counts, and whether it is an edge."""
    divergence = neighbor.p * (neighbor.log_p - center.log_p)
    divergence += neighbor.q * (neighbor.log_q - center.log_q)
    kept = center.valid & neighbor.valid
    return (
        tf.nn.relu(margin - divergence),
        divergence,
        kept,
        neighbor.truth != center.truth,
    )


def _over_neighbors(add: Callable[..., list], totals: tuple, distance: int) -> Any:
    """Return the totals after `add(row, column, totals)` for each of the eight neighbors."""
    places = itertools.product((0, distance, 2 * distance), repeat=2)
    offsets = [place for place in places if place != (distance, distance)]
    if xla.is_compiling() and xla.planned_device() == "CPU":
        # Written out, the eight take 0.7 × Keras' cross-entropy and 3.9 s to compile where the
        # loop takes 0.5 and 2.1, with the cross-entropy, on [2, 513, 513, 21], two cores.
        at = tf.constant(offsets)
        return tf.while_loop(
            lambda k, *_: k < len(offsets),
            lambda k, *totals: (k + 1, *add(at[k, 0], at[k, 1], totals)),
            (0, *totals),
        )[1:]
    for row, column in offsets:
        totals = add(row, column, totals)
    return tuple(totals)
