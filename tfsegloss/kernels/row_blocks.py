"""Losses on windows, computed a block of rows at a time.

A window's statistics are several maps as large as the logits. Of a whole batch they cost more to
write than to compute; those of some rows stay in the processor's cache.
"""

from collections.abc import Callable

import tensorflow as tf

from tfsegloss.core.shapes import at_least, sizes
from tfsegloss.core.targets import Targets, one_hot
from tfsegloss.kernels import xla

LANES = 8  # floats in a vector of most processors
ROWS = 64  # of a block, or a number near it that divides the height


def map_row_blocks(
    function: Callable[..., tf.Tensor],
    logits: tf.Tensor,
    targets: Targets,
    *others: tf.Tensor,
    margin: int,
    reflect: bool,
    write_later: bool = False,
) -> tf.Tensor:
    """A map `[B, H, …]` of a function of blocks of rows; no gradient flows through it.

    Args:
        function: Of a block's logits `[rows + 2·margin, W, C]`, its targets and its others;
            `[rows, …]`. It may hold operations on neighbors up to `margin` rows away.
        logits: `[B, H, W, C]`.
        targets: Of `[B, H, W]`.
        others: Further maps `[B, H, …]`.
        margin: Rows that a block's function needs on both sides.
        reflect: Whether rows beyond the border are those within, mirrored at the first and the
            last row; otherwise they are not valid.
        write_later: Whether a block is written while the next one is computed. XLA fuses a
            function's last operations into the write, which one core does; where they are many,
            it is faster to copy the block and let all cores compute them.

    Returns:
        What the function returns for all rows, in the logits' type.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.zeros([1, 2, 1]), num_classes=2)
    >>> x = tf.constant([[[[1.0, 0.0]], [[5.0, 0.0]]]])
    >>> around = lambda x, t: x[:-2, :, 0] + x[2:, :, 0]
    >>> map_row_blocks(around, x, targets, margin=1, reflect=True)[0].numpy().tolist()
    [[10.0], [2.0]]
    """

    def forward(logits, targets, *others):
        def rows_of(image, start, rows):
            wanted = tf.range(rows + 2 * margin) + start - margin
            return function(*_take((logits, targets, *others), image, wanted, reflect))

        return _over_blocks(rows_of, logits, write_later)

    return xla.compiled(forward, logits, targets, *others)


def inner_rows(maps: tf.Tensor, margin: int) -> tf.Tensor:
    """The rows of a block without its margins."""
    return maps[margin : sizes(maps)[0] - margin]


def inner_targets(targets: Targets, margin: int) -> Targets:
    """The targets of a block without its margins."""
    maps = (targets.ids, targets.dense, targets.valid)
    inner = (None if m is None else inner_rows(m, margin) for m in maps)
    return Targets(*inner, targets.in_range)


def mirror_columns(maps: tf.Tensor, margin: int) -> tf.Tensor:
    """A block mirrored at its first and its last column."""
    width = sizes(maps)[1]
    columns = [*range(-margin, 0), *(width + i for i in range(margin))]
    mirrored = [_mirrored(column, width) for column in columns]
    strips = [maps[:, column : column + 1] for column in mirrored]
    return tf.concat([*strips[:margin], maps, *strips[margin:]], axis=1)


def edge_counts(valid: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """e `[B, H, W]`: 1, at the first and last rows and columns 2, at the corners 4.

    With it the adjoint of a mean m over mirrored symmetric windows is a mean again: m(e·u) / e.
    A window of pixel i holds pixel j once for each of its mirror images, of which one on the
    border has half as many.
    """
    edges = tf.ones_like(valid, dtype)
    for axis in (1, 2):
        size = sizes(valid)[axis]
        index = tf.range(size)
        count = tf.where((index == 0) | (index == size - 1), 2, 1)
        edges *= tf.cast(tf.reshape(count, [-1, 1] if axis == 1 else [-1]), dtype)
    return edges


def pad_classes_to_vector_width(maps: tf.Tensor) -> tf.Tensor:
    """Maps `[…, C]` with the classes filled up to whole vectors of the processor.

    Saves XLA's code a quarter of its time. What the additional lanes hold means nothing: no
    operation may mix them with the classes, and they are cut off at the end.
    """
    if not xla.is_compiling():
        return maps
    return tf.pad(maps, [[0, 0]] * (maps.shape.rank - 1) + [[0, -maps.shape[-1] % LANES]])


def one_hot_to_vector_width(targets: Targets, num_classes: int, dtype: tf.DType) -> tf.Tensor:
    """`pad_classes_to_vector_width` of `one_hot`."""
    if targets.dense is not None or num_classes == 1 or not xla.is_compiling():
        return pad_classes_to_vector_width(one_hot(targets, num_classes, dtype))
    return one_hot(targets, num_classes + -num_classes % LANES, dtype)


def _mirrored(index: int | tf.Tensor, size: int | tf.Tensor) -> int | tf.Tensor:
    """Where an index beyond the first or the last is, as often mirrored there as it takes."""
    period = at_least(2 * (size - 1), 1)
    return size - 1 - abs(index % period - (size - 1))


def _over_blocks(function: Callable, logits: tf.Tensor, write_later: bool) -> tf.Tensor:
    """`[B, H, …]` from a function of (image, first row, number of rows)."""
    images, height, *_ = sizes(logits)
    rows = _rows(height)
    blocks = -(-height // rows)

    # AutoGraph would read through all that the function calls, at each call.
    @tf.autograph.experimental.do_not_convert
    def block(i):
        return function(i // blocks, i % blocks * rows, rows)

    map_blocks = _map_later if write_later and xla.is_compiling() else tf.map_fn
    indices = tf.range(images * blocks)
    stacked = map_blocks(block, indices, fn_output_signature=logits.dtype)  # [B · blocks, rows, …]
    return tf.reshape(stacked, [images, blocks * rows, *sizes(stacked)[2:]])[:, :height]


def _map_later(
    function: Callable[[tf.Tensor], tf.Tensor], indices: tf.Tensor, fn_output_signature: tf.DType
) -> tf.Tensor:
    """`tf.map_fn` over 0, 1, …, which writes each result in the step after."""
    before = tf.zeros_like(function(indices[0]))  # for its shape; nothing of it is computed
    count = sizes(indices)[0]
    results = tf.TensorArray(fn_output_signature, count, element_shape=before.shape)
    _, last, results = tf.while_loop(
        lambda i, *_: i < count,
        lambda i, before, results: (
            i + 1,
            function(i),
            results.write(tf.maximum(i - 1, 0), before),
        ),
        (0, before, results),
    )
    return results.write(count - 1, last).stack()


def _rows(height: int | tf.Tensor) -> int | tf.Tensor:
    if not xla.is_compiling():
        return height  # operation by operation, there is nothing to keep in the cache
    if not isinstance(height, int) or height <= ROWS:
        return ROWS
    even = [rows for rows in range(ROWS // 2, 2 * ROWS) if height % rows == 0]
    return min(even, key=lambda rows: abs(rows - ROWS), default=ROWS)


def _take(maps: tuple, image: tf.Tensor, wanted: tf.Tensor, reflect: bool) -> list:
    """Some rows of an image's logits, its targets, and other maps."""
    logits, targets, *others = maps
    height = sizes(logits)[1]
    index = _mirrored(wanted, height) if reflect else tf.clip_by_value(wanted, 0, height - 1)

    def take(maps):
        if maps is None:
            return None
        flat = tf.reshape(maps, [-1, *sizes(maps)[2:]])  # [B · H, …]
        return tf.gather(flat, image * height + index)

    valid = take(targets.valid)
    if not reflect:
        valid &= ((wanted >= 0) & (wanted < height))[:, tf.newaxis]
    block = Targets(take(targets.ids), take(targets.dense), valid, targets.in_range)
    return [take(logits), block, *map(take, others)]
