"""Boundary IoU: how well the edges of segments are met."""

import math

import tensorflow as tf

from tfsegloss.core.checks import check_positive


def boundary_counts(
    y_true: tf.Tensor,
    predicted: tf.Tensor,
    num_classes: int,
    *,
    ignore_class: int | None = 255,
    width: float = 0.02,
) -> tf.Tensor:
    """Count the pixels along the edges of the segments of an image, by class.

    With T_c and P_c the pixels that are of class c in truth and in prediction, and B(M) the pixels
    of a mask M no further than d from a pixel outside of it (the greater of the distances along
    rows and columns; what is beyond the image is outside),

        intersection_c = |B(T_c) ∩ B(P_c)|,  union_c = |B(T_c) ∪ B(P_c)|,

    whose quotient, each summed over all images, is the boundary IoU of the class.

    Args:
        y_true: Ids `[H, W]`, the sizes known.
        predicted: Predicted ids `[H, W]` in [0, num_classes); anything at ignored pixels.
        num_classes: C.
        ignore_class: Id of pixels that are not counted, along which no edge runs.
        width: d over the diagonal of the image; d is rounded, and 1 pixel at least.

    Returns:
        int64 `[2, C]`, intersections and unions.

    Raises:
        ValueError: A shape or `width` is not as above.

    Example:

    >>> stripes = [[0, 0, 0, 1, 1, 1]] * 6
    >>> boundary_counts(stripes, stripes, num_classes=2).numpy().tolist()
    [[14, 14], [14, 14]]

    Reference: Cheng et al., *Boundary IoU: Improving object-centric image segmentation evaluation*,
    2021, Eq. 5; distance and border as in its authors' code. That has no ignored pixels.
    """
    y_true, predicted = tf.convert_to_tensor(y_true), tf.convert_to_tensor(predicted)
    if y_true.shape.rank != 2 or y_true.shape != predicted.shape:
        raise ValueError(
            "`y_true` and `predicted` must both be ids (height, width). "
            f"Received: {y_true.shape}, {predicted.shape}"
        )
    check_positive("width", width)
    height, columns = y_true.shape
    distance = max(round(width * math.hypot(height, columns)), 1)
    valid = tf.ones_like(y_true, tf.bool) if ignore_class is None else y_true != ignore_class
    edges = [_edges(ids, valid, num_classes, distance) for ids in (y_true, predicted)]
    both, either = edges[0] & edges[1], edges[0] | edges[1]
    return tf.stack([tf.math.count_nonzero(mask, axis=[0, 1]) for mask in (both, either)])


def _edges(ids: tf.Tensor, valid: tf.Tensor, num_classes: int, distance: int) -> tf.Tensor:
    """Return the pixels of each class that are near to others, bool `[H, W, C]`."""
    is_class = tf.cast(ids, tf.int64)[..., tf.newaxis] == tf.range(num_classes, dtype=tf.int64)
    outside = tf.cast(~is_class & valid[..., tf.newaxis], tf.float32)
    for axis in (0, 1):  # the maximum over a square is that over columns of that over rows
        border = [[0, 0], [0, 0], [0, 0]]
        border[axis] = [distance, distance]
        window = [1, 1]
        window[axis] = 2 * distance + 1
        padded = tf.pad(outside, border, constant_values=1.0)[tf.newaxis]
        outside = tf.nn.max_pool2d(padded, window, strides=1, padding="VALID")[0]
    return is_class & valid[..., tf.newaxis] & (outside > 0)
