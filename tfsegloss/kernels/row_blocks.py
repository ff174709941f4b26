"""Losses on windows, computed a block of rows at a time.

A window's statistics are several maps as large as the logits. Of a whole batch they cost more to
write than to compute; those of some rows stay in a processor's cache. On a GPU a block is as much
of the batch as memory holds.
"""

from collections.abc import Callable

import tensorflow as tf

from tfsegloss.core.shapes import at_least, of_one_at_least, sizes
from tfsegloss.core.targets import Targets, one_hot
from tfsegloss.kernels import windows, xla

LANES = 8  # floats in a vector of most processors
# Of a block's logits on a CPU, for cores with a cache of 2 MB each. LAD takes 1.6 × Keras'
# cross-entropy with 4 or 5 MB, 1.8 with 1.5 MB, on [1, 257, 257, 150], two cores: smaller blocks
# are more margin than rows, larger ones leave the cache.
BLOCK_BYTES = 2**22
MIN_ROWS = 8  # of a block, or its margins would be most of it
GPU_MAPS = 8  # as large as its logits, that a block may hold on a GPU


def map_row_blocks(
    function: Callable[..., tf.Tensor],
    logits: tf.Tensor,
    targets: Targets,
    *others: tf.Tensor,
    margin: int,
    reflect: bool,
    write_later: bool = False,
) -> tf.Tensor:
    """Return a map `[B, H, …]` of a function of blocks of rows; no gradient flows through it.

    Args:
        function: Of a block's logits `[N, rows + 2·margin, W, C]` of N images, its targets and its
            others; `[N, rows, …]`. It may hold operations on neighbors up to `margin` rows away.
        logits: `[B, H, W, C]`.
        targets: Of `[B, H, W]`.
        others: Further maps `[B, H, …]`.
        margin: Rows that a block's function needs on both sides.
        reflect: Whether rows beyond the border are those within, mirrored at the first and the
            last row; otherwise they are not valid.
        write_later: Whether a block is written while the next one is computed. XLA fuses a
            function's last operations into the write, which one core does; where they are many,
            it is faster to copy the block and let all cores compute them: SSIM takes 1.75 × Keras'
            cross-entropy with it, 1.98 without, on [2, 513, 513, 21], two cores.

    Returns:
        What the function returns for all rows, in the logits' type.

    Example:

    >>> from tfsegloss.core.targets import encode_targets
    >>> targets = encode_targets(tf.zeros([1, 2, 1]), num_classes=2)
    >>> x = tf.constant([[[[1.0, 0.0]], [[5.0, 0.0]]]])
    >>> around = lambda x, t: x[:, :-2, :, 0] + x[:, 2:, :, 0]
    >>> map_row_blocks(around, x, targets, margin=1, reflect=True)[0].numpy().tolist()
    [[10.0], [2.0]]
    """

    def forward(logits, targets, *others):
        batch = sizes(logits)[0]
        maps = tf.nest.map_structure(_of_an_image_at_least, (logits, targets, *others))

        def of_block(image, images, row, rows):
            wanted = tf.range(rows + 2 * margin) + row - margin
            return function(*_take(maps, image + tf.range(images), wanted, reflect))

        return _over_blocks(of_block, maps[0], write_later)[:batch]

    return xla.compiled(forward, logits, targets, *others)


def inner_rows(maps: tf.Tensor, margin: int) -> tf.Tensor:
    """Return the rows of a block without its margins."""
    return maps[:, margin : sizes(maps)[1] - margin]


def inner_targets(targets: Targets, margin: int) -> Targets:
    """Return the targets of a block without its margins."""
    maps = (targets.ids, targets.dense, targets.valid)
    inner = (None if m is None else inner_rows(m, margin) for m in maps)
    return Targets(*inner, targets.in_range)


def pad_classes_to_vector_width(maps: tf.Tensor) -> tf.Tensor:
    """Return maps `[…, C]` with the classes filled up to whole vectors of a CPU.

    What the additional lanes hold is finite and means nothing: no operation may mix them with the
    classes, and they are cut off at the end.

    CPU time by Keras' cross-entropy, and without it, on [2, 513, 513, 21]: LAD 1.5 and 1.8, SSL 1.1
    and 1.25, SSIM 1.7 and 1.9.
    """
    if not _is_for_cpu():
        return maps
    return tf.pad(maps, [[0, 0]] * (maps.shape.rank - 1) + [[0, -maps.shape[-1] % LANES]])


def one_hot_to_vector_width(targets: Targets, num_classes: int, dtype: tf.DType) -> tf.Tensor:
    """Return `pad_classes_to_vector_width` of `one_hot`."""
    if targets.dense is not None or num_classes == 1 or not _is_for_cpu():
        return pad_classes_to_vector_width(one_hot(targets, num_classes, dtype))
    return one_hot(targets, num_classes + -num_classes % LANES, dtype)


def _is_for_cpu() -> bool:
    """Return whether a cluster for a CPU is being traced."""
    return xla.is_compiling() and xla.planned_device() == "CPU"


def _of_an_image_at_least(maps: tf.Tensor | None) -> tf.Tensor | None:
    if maps is None or maps.shape.rank == 0:  # `Targets.in_range`
        return maps
    return of_one_at_least(maps, copy=xla.is_compiling())


def _over_blocks(function: Callable, logits: tf.Tensor, write_later: bool) -> tf.Tensor:
    """Return `[B, H, …]` from a function of (first image, number of images, first row, of rows)."""
    batch, height, *_ = sizes(logits)
    images, rows = _block_size(logits)
    blocks = -(-height // rows)  # of an image; 1 where a block has several images

    # AutoGraph would read through all that the function calls, at each call.
    @tf.autograph.experimental.do_not_convert
    def block(i):
        return function(i // blocks * images, images, i % blocks * rows, rows)

    count = -(-batch // images) * blocks
    if isinstance(count, int) and count == 1:
        return function(0, images, 0, rows)[:, :height]
    map_blocks = _map_later if write_later and _is_for_cpu() else tf.map_fn
    # [count, images, rows, …]
    stacked = map_blocks(block, tf.range(count), fn_output_signature=logits.dtype)
    shape = [count // blocks * images, blocks * rows, *sizes(stacked)[3:]]
    return tf.reshape(stacked, shape)[:batch, :height]


def _map_later(
    function: Callable[[tf.Tensor], tf.Tensor], indices: tf.Tensor, fn_output_signature: tf.DType
) -> tf.Tensor:
    """Return `tf.map_fn` over 0, 1, …, which writes each result in the step after."""
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


def _block_size(logits: tf.Tensor) -> tuple[int | tf.Tensor, int | tf.Tensor]:
    """Return how many images, and how many rows of each, one step takes."""
    batch, height, width, num_classes = sizes(logits)
    row_bytes = width * num_classes * logits.dtype.size
    if xla.planned_device() == "GPU":
        row = [GPU_MAPS * num_classes * logits.dtype.size, width]
        rows = xla.at_once(height, on_cpu=height, bytes_each=row)
        images = xla.at_once(batch, on_cpu=1, bytes_each=[*row, height])
        return at_least(images, 1), at_least(rows, 1)
    if not xla.is_compiling():
        return 1, at_least(height, 1)  # operation by operation, nothing stays in the cache
    return 1, even_rows(height, max(BLOCK_BYTES // row_bytes, MIN_ROWS))


def even_rows(height: int | tf.Tensor, rows: int) -> int | tf.Tensor:
    """Return the number near `rows` that divides the height, or fills it with the fewest too many.

    Where blocks do not fill the image, the maps of all its rows are copied once more.

    Example:

    >>> even_rows(513, 60), even_rows(257, 60)
    (57, 52)
    """
    if not isinstance(height, int):
        return rows
    even = [n for n in range(-(-rows // 2), 2 * rows) if height % n == 0]
    blocks = -(-height // rows)
    return min(even, key=lambda n: abs(n - rows), default=at_least(-(-height // blocks), 1))


def _take(maps: tuple, images: tf.Tensor, rows: tf.Tensor, reflect: bool) -> list:
    """Return some rows of some images of the logits, the targets, and other maps."""
    logits, targets, *others = maps
    batch, height = sizes(logits)[:2]
    index = windows.mirrored(rows, height) if reflect else tf.clip_by_value(rows, 0, height - 1)
    images = tf.minimum(images, batch - 1)  # the last block may have fewer
    index += height * images[:, tf.newaxis]  # [N, rows]

    def take(maps):
        if maps is None:
            return None
        return tf.gather(tf.reshape(maps, [-1, *sizes(maps)[2:]]), index)

    valid = take(targets.valid)
    if not reflect:
        valid &= ((rows >= 0) & (rows < height))[:, tf.newaxis]
    block = Targets(take(targets.ids), take(targets.dense), valid, targets.in_range)
    return [take(logits), block, *map(take, others)]
