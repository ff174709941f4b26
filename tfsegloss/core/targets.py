"""Labels: which pixels count, what their targets are, and what is wrong with them.

The rules for ignored pixels and for ids out of range live here alone.
"""

import functools
import operator
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

DEFAULT_IGNORED = 255  # what 8-bit label maps call a pixel without label


class Targets(NamedTuple):
    """Labels as the losses use them; B images of H×W pixels, C classes.

    Exactly one of `ids` and `dense` is set.
    """

    ids: tf.Tensor | None  # int32 [B, H, W], 0 where ignored
    dense: tf.Tensor | None  # [B, H, W, C] in [0, 1], 0 where ignored
    valid: tf.Tensor  # bool [B, H, W]
    # bool [], False where a target that counts, or what comes beside it, is out of range
    in_range: tf.Tensor


def normalize_ignore_class(ignore_class: int | Sequence[int] | None) -> int | list[int] | None:
    """Return the option `ignore_class` as an int, a list of ints or None."""
    try:
        if ignore_class is None:
            return None
        if isinstance(ignore_class, str):
            raise TypeError
        if isinstance(ignore_class, Iterable):
            return [operator.index(i) for i in ignore_class]
        return operator.index(ignore_class)
    except TypeError:
        raise ValueError(
            "`ignore_class` must be an int, a sequence of ints or None. "
            f"Received: ignore_class={ignore_class!r}"
        ) from None


def encode_targets(
    y_true: tf.Tensor,
    num_classes: int,
    *,
    ignore_class: int | Sequence[int] | None = 255,
    empty_is_ignored: bool = True,
    dtype: tf.DType = tf.float32,
    name: str = "y_true",
) -> Targets:
    """Return labels as targets, with the mask of the pixels that count.

    Ids: a pixel is ignored where its id is in `ignore_class`. Dense targets (one-hot, soft or
    multi-label): a pixel is ignored where every channel holds an id of `ignore_class`, or, with
    `empty_is_ignored`, where all channels are 0 (what `tf.one_hot` makes of an ignored id). For
    one class `[B, H, W, 1]` is dense: its ids 0 and 1 are the same numbers as targets.

    Args:
        y_true: Ids `[B, H, W]` or `[B, H, W, 1]` of any number type, in [0, num_classes), or [0, 2)
            for one class; or dense targets `[B, H, W, num_classes]` in [0, 1].
        num_classes: Number of classes C.
        ignore_class: Id, ids or None.
        empty_is_ignored: Whether dense targets without any class are ignored; only if
            `ignore_class` is not None.
        dtype: Type of the dense targets.
        name: What errors call the labels.

    Returns:
        The targets.

    Raises:
        ValueError: The shape fits neither ids nor dense targets; an ignored id lies in
            [0, num_classes) where the targets are dense; or, in eager mode, a target out
            of range, with the ids found. In a graph that is a `tf.errors.InvalidArgumentError`,
            and under XLA, which drops assertions, `in_range` is False.

    Example:

    >>> targets = encode_targets(tf.constant([[[0, 2, 255]]]), num_classes=3)
    >>> targets.ids.numpy().tolist(), targets.valid.numpy().tolist()
    ([[[0, 2, 0]]], [[[True, True, False]]])
    """
    ignored = _as_list(ignore_class)
    if DEFAULT_IGNORED in ignored and num_classes > DEFAULT_IGNORED:
        warnings.warn(
            f"Of the {num_classes} classes, {DEFAULT_IGNORED} is ignored: if it is a class, pass "
            "ignore_class=None, or an id that is none.",
            stacklevel=2,
        )
    if num_classes == 1:
        _warn_of_masks_of_0_and_255(y_true, ignored)
    if y_true.shape.rank == 4 and y_true.shape[-1] == num_classes:
        # With one class 0 is no absence of labels: it is the background.
        empty_is_ignored = empty_is_ignored and bool(ignored) and num_classes > 1
        return _encode_dense(y_true, num_classes, ignored, empty_is_ignored, dtype, name)
    if y_true.shape.rank == 4 and y_true.shape[-1] == 1:
        y_true = tf.squeeze(y_true, axis=-1)
    if y_true.shape.rank != 3:
        raise ValueError(
            f"`{name}` must be ids (batch, height, width) or (batch, height, width, 1), or dense "
            f"targets (batch, height, width, {num_classes}). Received: {name}.shape={y_true.shape}"
        )
    return _encode_ids(y_true, num_classes, ignored, name)


def class_ids(num_classes: int) -> range:
    """Return the id of each class' map: 0 … C − 1, or 1 for one class, whose background is 0."""
    return range(1, 2) if num_classes == 1 else range(num_classes)


def is_class(ids: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Return where a pixel's id is each class' `[B, H, W, C]`."""
    return ids[..., tf.newaxis] == tf.constant([*class_ids(num_classes)])


def classes(targets: Targets) -> tf.Tensor:
    """Return the class of each pixel, int32 `[B, H, W]`, −1 where ignored or of no class.

    Of dense targets it is the class of the largest share, the first of equal ones.

    Example:

    >>> classes(encode_targets(tf.constant([[[1, 255]]]), num_classes=2)).numpy().tolist()
    [[[1, -1]]]
    """
    ids = targets.ids
    if ids is None:
        ids = tf.argmax(targets.dense, axis=-1, output_type=tf.int32)
        ids = tf.where(tf.reduce_any(targets.dense > 0, axis=-1), ids, -1)
    return tf.where(targets.valid, ids, -1)


def one_hot(targets: Targets, num_classes: int, dtype: tf.DType) -> tf.Tensor:
    """Return targets as maps `[B, H, W, C]`, 0 where ignored."""
    if targets.dense is not None:
        return tf.cast(targets.dense, dtype)
    return tf.cast(is_class(targets.ids, num_classes) & targets.valid[..., tf.newaxis], dtype)


def zero_ignored(values: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Return `values`, exactly 0 and without gradient where not valid, whatever they hold there.

    A bitwise AND instead of a `tf.where`, because XLA's CPU code for a select whose mask is
    broadcast over the classes takes twice the time: softmax cross-entropy is 0.42 × Keras' with it
    and 0.56 × without, sigmoid 0.30 × and 0.45 × ([2, 513, 513, 21], two cores).

    Args:
        values: `[B, H, W]` or `[B, H, W, C]`, float32 or float64; NaN and infinity are zeroed too.
        valid: bool `[B, H, W]`.

    Returns:
        In the values' shape and type.

    Example:

    >>> zero_ignored(tf.constant([2.0, float("nan")]), tf.constant([True, False])).numpy().tolist()
    [2.0, 0.0]
    """
    bits = tf.int64 if values.dtype == tf.float64 else tf.int32
    mask = -tf.cast(valid, bits)  # all bits, or none
    if values.shape.rank > valid.shape.rank:
        mask = mask[..., tf.newaxis]

    def masked(values):
        kept = tf.bitwise.bitwise_and(tf.bitcast(values, bits), mask)
        return tf.bitcast(kept, values.dtype)

    @tf.custom_gradient
    def zeroed(values):
        # Itself once more: bits have no derivative, and the second one would be lost.
        return masked(values), lambda upstream: zero_ignored(upstream, valid)

    return zeroed(values)


def zeroing_ignored(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of logits, targets and others, of logits that are 0 where ignored.

    What is 0 only afterwards has a second derivative of NaN where the logits hold NaN.
    """
    return lambda x, targets, *others: function(zero_ignored(x, targets.valid), targets, *others)


def _warn_of_masks_of_0_and_255(y_true: tf.Tensor, ignored: list[int]) -> None:
    """Warn, once, where labels of one class, seen in eager mode, have background alone.

    Masks of 0 and 255 are the commonest format, and train to predict background everywhere.
    """
    if DEFAULT_IGNORED not in ignored or not tf.executing_eagerly():
        return
    mask = tf.cast(y_true, tf.float32)
    background, unlabelled = mask == 0, mask == DEFAULT_IGNORED
    if tf.reduce_all(background | unlabelled) and tf.reduce_any(unlabelled):
        warnings.warn(
            f"The labels of one class are 0 or {DEFAULT_IGNORED} everywhere, and "
            f"{DEFAULT_IGNORED} is ignored: if it means the class, pass ignore_class=None and "
            f"labels // {DEFAULT_IGNORED}.",
            stacklevel=2,
        )


def _as_list(ignore_class: int | Sequence[int] | None) -> list[int]:
    ignore_class = normalize_ignore_class(ignore_class)
    if ignore_class is None:
        return []
    return [ignore_class] if isinstance(ignore_class, int) else ignore_class


def _encode_ids(y_true: tf.Tensor, num_classes: int, ignored: list[int], name: str) -> Targets:
    ids = tf.cast(y_true, tf.int32)  # [B, H, W]
    valid = tf.ones_like(ids, tf.bool)
    for i in ignored:
        valid &= ids != i
    limit = max(num_classes, 2)
    # Keras hands ids over as floats: a fraction or NaN is no id, nor is what int32 cannot hold.
    whole = tf.cast(ids, y_true.dtype) == y_true
    valid |= ~whole
    wrong = valid & ~(whole & (ids >= 0) & (ids < limit))
    or_ignored = f" or an ignored id ({ignored})" if ignored else ""
    rule = f"`{name}` must hold ids in [0, {limit}){or_ignored}. Received ids:"
    in_range = check_values(wrong, y_true, rule)
    return Targets(tf.where(valid & ~wrong, ids, 0), None, valid, in_range)


def _encode_dense(
    y_true: tf.Tensor,
    num_classes: int,
    ignored: list[int],
    empty_is_ignored: bool,
    dtype: tf.DType,
    name: str,
) -> Targets:
    if num_classes > 1 and any(0 <= i < num_classes for i in ignored):
        raise ValueError(
            f"`ignore_class` must lie outside [0, {num_classes}) where `{name}` is dense "
            f"(batch, height, width, {num_classes}). Received: ignore_class={ignored}"
        )
    dense = tf.cast(y_true, dtype)  # [B, H, W, C]
    valid = tf.ones(tf.shape(dense)[:3], tf.bool)
    if ignored:
        holds_ignored = functools.reduce(tf.logical_or, [dense == i for i in ignored])
        # Not where any channel does: a map of 0 and 255 would lose all pixels that have a class.
        valid &= ~tf.reduce_all(holds_ignored, axis=-1)
    if empty_is_ignored:
        valid &= tf.reduce_any(dense != 0, axis=-1)
    wrong = valid[..., tf.newaxis] & ~((dense >= 0) & (dense <= 1))
    or_ignored = f" or be an ignored id ({ignored}) in every channel" if ignored else ""
    rule = f"Dense `{name}` must lie in [0, 1]{or_ignored}. Received values:"
    in_range = check_values(wrong, dense, rule)
    safe = tf.where(valid[..., tf.newaxis] & ~wrong, dense, 0)
    return Targets(None, safe, valid, in_range)


def check_values(wrong: tf.Tensor, values: tf.Tensor, rule: str) -> tf.Tensor:
    """Return whether nothing is wrong, after saying what is wherever an assertion can run.

    Args:
        wrong: bool, where a value is wrong.
        values: In the shape of `wrong`.
        rule: What the values must be, and what the wrong ones that follow are called.

    Returns:
        bool `[]`; False only under XLA, which drops assertions.

    Raises:
        ValueError: In eager mode, where anything is wrong; in a graph that is a
            `tf.errors.InvalidArgumentError`.
    """
    in_range = ~tf.reduce_any(wrong)
    if tf.executing_eagerly():
        if not in_range:
            first = np.unique(tf.boolean_mask(values, wrong))[:16].tolist()
            names = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in first)
            raise ValueError(f"{rule} {names}")
        return in_range

    def fail() -> tf.Tensor:
        # No boolean mask: XLA drops assertions but would compile it for two seconds, and
        # `tf.vectorized_map` cannot have one in a branch.
        one = tf.gather(tf.reshape(values, [-1]), tf.argmax(tf.reshape(wrong, [-1])))
        found = tf.where(wrong, values, one)
        report = [rule, tf.reduce_min(found), "to", tf.reduce_max(found)]
        with tf.control_dependencies([tf.debugging.Assert(in_range, report)]):
            return tf.constant(False)

    return tf.cond(in_range, lambda: tf.constant(True), fail)
