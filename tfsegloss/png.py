"""What the header of a PNG says of its pixels, which TensorFlow's decoder does not tell.

The decoder reads a palette as grey levels, and stretches 1 to 4 bits of grey, silently. To colours
it reads a palette right, but not whether two of its entries are the same.
"""

from typing import NamedTuple

import tensorflow as tf

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTH, COLOUR_TYPE = 24, 25  # bytes of the file
GREY, RGB, PALETTE = 0, 2, 3  # colour types
PALETTE_CHUNK = int.from_bytes(b"PLTE", "big")
CHUNK_FRAME = 12  # bytes of a chunk beside its content: length, type, checksum


class PngHeader(NamedTuple):
    """Scalars; the last two mean nothing where the file is no PNG."""

    is_png: tf.Tensor  # bool
    depth: tf.Tensor  # uint8, bits per channel
    colour_type: tf.Tensor  # uint8


def png_header(contents: tf.Tensor | bytes) -> PngHeader:
    """The header of a PNG, in a graph or eagerly.

    Args:
        contents: A file of any kind, however short.

    Returns:
        The header.

    Example:

    >>> [int(value) for value in png_header(tf.io.encode_png(tf.zeros([2, 3, 1], tf.uint8)))]
    [1, 8, 0]
    """
    length = COLOUR_TYPE + 1
    start = tf.strings.substr(contents, 0, length)
    header = tf.io.decode_raw(start, tf.uint8, fixed_length=length)  # zeros where it is shorter
    is_png = tf.strings.substr(contents, 0, len(SIGNATURE)) == SIGNATURE
    is_png &= tf.strings.length(start) == length
    return PngHeader(is_png, header[DEPTH], header[COLOUR_TYPE])


def png_palette(contents: tf.Tensor | bytes) -> tf.Tensor:
    """The palette of a PNG, in a graph or eagerly.

    Args:
        contents: A PNG.

    Returns:
        Its colours uint8 `[N, 3]`; none where it has no palette.

    Example:

    >>> png_palette(tf.io.encode_png(tf.zeros([2, 3, 1], tf.uint8))).shape
    TensorShape([0, 3])
    """
    size = tf.strings.length(contents)

    def chunk(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Length and type of the chunk that starts there; what is not there reads as zeros."""
        head = tf.strings.substr(contents, tf.minimum(start, size), 8)
        length, kind = tf.unstack(
            tf.io.decode_raw(head, tf.int32, little_endian=False, fixed_length=8), 2
        )
        return tf.clip_by_value(length, 0, size), kind

    start = tf.while_loop(
        lambda start: (start < size) & (chunk(start)[1] != PALETTE_CHUNK),
        lambda start: [start + CHUNK_FRAME + chunk(start)[0]],
        [tf.constant(len(SIGNATURE))],
    )[0]
    length = tf.where(start < size, chunk(start)[0], 0) // 3 * 3
    body = tf.strings.substr(contents, tf.minimum(start + 8, size), length)
    return tf.reshape(tf.io.decode_raw(body, tf.uint8)[: tf.strings.length(body) // 3 * 3], [-1, 3])
