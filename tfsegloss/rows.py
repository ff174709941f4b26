"""Losses on windows, computed a block of rows at a time.

A window's statistics are several maps as large as the logits. Of a whole batch they cost more to
write than to compute; those of some rows stay in the processor's cache.
"""

from collections.abc import Callable

import tensorflow as tf

from tfsegloss import cluster, labels
from tfsegloss.labels import Targets
from tfsegloss.shapes import at_least, sizes

LANES = 8  # floats in a vector of most processors
ROWS = 64  # of a block, or a number near it that divides the height


def constant_map(
    function: Callable[[tf.Tensor, Targets], tf.Tensor],
    logits: tf.Tensor,
    targets: Targets,
    *,
    margin: int,
    reflect: bool,
) -> tf.Tensor:
    """A map `[B, H, …]` of a function of blocks of rows; no gradient flows through it.

    Args:
        function: Of a block's logits `[rows + 2·margin, W, C]` and its targets; `[rows, …]`. It may
            hold operations on neighbours up to `margin` rows away.
        logits: `[B, H, W, C]`.
        targets: Of `[B, H, W]`.
        margin: Rows that a block's function needs on both sides.
        reflect: Whether rows beyond the border are those within, mirrored at the first and the
            last row; otherwise they are not valid.

    Returns:
        What the function returns for all rows, in the logits' type.

    Example:

    >>> from tfsegloss import labels
    >>> targets = labels.encode(tf.zeros([1, 2, 1]), classes=2)
    >>> x = tf.constant([[[[1.0, 0.0]], [[5.0, 0.0]]]])
    >>> around = lambda x, t: x[:-2, :, 0] + x[2:, :, 0]
    >>> constant_map(around, x, targets, margin=1, reflect=True)[0].numpy().tolist()
    [[10.0], [2.0]]
    """

    def forward(logits, targets):
        def rows_of(image, start, rows):
            x, block, _ = _take(logits, targets, image, start - margin, rows + 2 * margin, reflect)
            return function(x, block)

        return _over_blocks(rows_of, logits)

    return cluster.run(forward, logits, targets)


def map_rows(
    function: Callable[[tf.Tensor, Targets], list[tf.Tensor]],
    logits: tf.Tensor,
    targets: Targets,
    *,
    margin: int,
    reflect: bool,
    gradient: Callable[[tf.Tensor, Targets, tf.Tensor], tf.Tensor] | None = None,
) -> list[tf.Tensor]:
    """Maps `[B, H, W]` of a function of blocks of rows, differentiable by the logits.

    Args:
        function: As for `constant_map`, but a list of maps `[rows, W]`.
        logits: `[B, H, W, C]`.
        targets: Of `[B, H, W]`.
        margin: As for `constant_map`.
        reflect: As for `constant_map`.
        gradient: The function's gradient, of a block's logits `[rows + 4·margin, W, C]`, its
            targets, and the upstream gradient `[rows + 2·margin, W, number of maps]`: that of the
            block's inner rows, `[rows, W, C]`. None: TensorFlow's, by a tape.

    Returns:
        The maps, `[B, H, W]` each.

    Example:

    >>> from tfsegloss import labels
    >>> targets = labels.encode(tf.zeros([1, 2, 1]), classes=2)
    >>> x = tf.constant([[[[1.0, 0.0]], [[5.0, 0.0]]]])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     double = lambda x, t: [2 * x[..., 0]]
    ...     (doubled,) = map_rows(double, x, targets, margin=0, reflect=False)
    >>> tape.gradient(doubled, x)[0, :, 0].numpy().tolist()
    [[2.0, 0.0], [2.0, 0.0]]
    """

    def backward(logits, targets, upstream):
        def slopes(image, start, rows):
            # All windows that hold a row of the block, and all rows of these windows.
            first, count = start - 2 * margin, rows + 4 * margin
            x, block, index = _take(logits, targets, image, first, count, reflect)
            wanted = _windows(upstream, image, start - margin, rows + 2 * margin)
            if gradient is not None:
                return gradient(x, block, wanted)
            with tf.GradientTape() as tape:
                tape.watch(x)
                values = tf.stack(function(x, block), axis=-1)
            slope = tape.gradient(values, x, wanted)
            inner = inner_rows(slope, 2 * margin)
            if not (reflect and margin):
                return inner
            # At the border, a mirrored row is a row of the image too.
            here = tf.where((index >= start) & (index < start + rows), index - start, -1)
            return tf.cond(
                (first < 0) | (first + count > sizes(logits)[1]),
                lambda: tf.math.unsorted_segment_sum(slope, here, rows),
                lambda: inner,
            )

        return _over_blocks(slopes, logits)

    @tf.custom_gradient
    def maps(logits):
        stacked = constant_map(
            lambda x, block: tf.stack(function(x, block), axis=-1),
            logits,
            targets,
            margin=margin,
            reflect=reflect,
        )
        return stacked, lambda upstream: cluster.run(backward, logits, targets, upstream)

    return tf.unstack(maps(logits), axis=-1)


def inner_rows(maps: tf.Tensor, margin: int) -> tf.Tensor:
    """The rows of a block without its margins."""
    return maps[margin : sizes(maps)[0] - margin]


def inner_targets(targets: Targets, margin: int) -> Targets:
    """The targets of a block without its margins."""
    maps = (targets.ids, targets.dense, targets.valid)
    inner = (None if m is None else inner_rows(m, margin) for m in maps)
    return Targets(*inner, targets.in_range)


def pad_columns(maps: tf.Tensor, margin: int) -> tf.Tensor:
    """A block mirrored at its first and its last column."""
    width = sizes(maps)[1]
    columns = [*range(-margin, 0), *(width + i for i in range(margin))]
    mirrored = [_mirrored(column, width) for column in columns]
    strips = [maps[:, column : column + 1] for column in mirrored]
    return tf.concat([*strips[:margin], maps, *strips[margin:]], axis=1)


def pad_lanes(maps: tf.Tensor) -> tf.Tensor:
    """Maps `[…, C]` with the classes filled up to whole vectors of the processor.

    Saves XLA's code a quarter of its time. What the additional lanes hold is nobody's: they never
    meet the others, and are cut off at the end.
    """
    if not cluster.is_compiling():
        return maps
    return tf.pad(maps, [[0, 0]] * (maps.shape.rank - 1) + [[0, -maps.shape[-1] % LANES]])


def one_hot_lanes(targets: Targets, classes: int, dtype: tf.DType) -> tf.Tensor:
    """`pad_lanes` of `labels.one_hot`."""
    if targets.dense is not None or classes == 1 or not cluster.is_compiling():
        return pad_lanes(labels.one_hot(targets, classes, dtype))
    return labels.one_hot(targets, classes + -classes % LANES, dtype)


def _mirrored(index: int | tf.Tensor, size: int | tf.Tensor) -> int | tf.Tensor:
    """Where an index beyond the first or the last is, as often mirrored there as it takes."""
    period = at_least(2 * (size - 1), 1)
    return size - 1 - abs(index % period - (size - 1))


def _over_blocks(function: Callable, logits: tf.Tensor) -> tf.Tensor:
    """`[B, H, …]` from a function of (image, first row, number of rows)."""
    images, height, *_ = sizes(logits)
    rows = _rows(height)
    blocks = -(-height // rows)
    stacked = tf.map_fn(
        lambda i: function(i // blocks, i % blocks * rows, rows),
        tf.range(images * blocks),
        fn_output_signature=logits.dtype,
    )  # [B · blocks, rows, …]
    return tf.reshape(stacked, [images, blocks * rows, *sizes(stacked)[2:]])[:, :height]


def _rows(height: int | tf.Tensor) -> int | tf.Tensor:
    if not cluster.is_compiling():
        return height  # operation by operation, there is nothing to keep in the cache
    if not isinstance(height, int) or height <= ROWS:
        return ROWS
    even = [rows for rows in range(ROWS // 2, 2 * ROWS) if height % rows == 0]
    return min(even, key=lambda rows: abs(rows - ROWS), default=ROWS)


def _take(
    logits: tf.Tensor,
    targets: Targets,
    image: tf.Tensor,
    first: tf.Tensor,
    count: int,
    reflect: bool,
) -> tuple[tf.Tensor, Targets, tf.Tensor]:
    """The block of rows from `first` on, and the index of each of them in the image."""
    height = sizes(logits)[1]
    wanted = tf.range(count) + first
    index = _mirrored(wanted, height) if reflect else tf.clip_by_value(wanted, 0, height - 1)

    def take(maps):
        if maps is None:
            return None
        flat = tf.reshape(maps, [-1, *sizes(maps)[2:]])  # [B · H, …]
        return tf.gather(flat, image * height + index)

    inside = (wanted >= 0) & (wanted < height)
    valid = take(targets.valid)
    if not reflect:
        valid &= inside[:, tf.newaxis]
    block = Targets(take(targets.ids), take(targets.dense), valid, targets.in_range)
    return take(logits), block, index


def _windows(upstream: tf.Tensor, image: tf.Tensor, first: tf.Tensor, count: int) -> tf.Tensor:
    """The upstream gradient of some rows, 0 for rows outside the image."""
    height = sizes(upstream)[1]
    wanted = tf.range(count) + first
    inside = (wanted >= 0) & (wanted < height)
    flat = tf.reshape(upstream, [-1, *sizes(upstream)[2:]])
    rows = tf.gather(flat, image * height + tf.clip_by_value(wanted, 0, height - 1))
    return tf.where(inside[:, tf.newaxis, tf.newaxis], rows, 0)
