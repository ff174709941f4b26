"""What the header of a PNG says of its pixels, which TensorFlow's decoder does not tell.

The decoder reads a palette as the gray of its colors, and stretches 1 to 4 bits of gray, silently.
The indices of a palette it does not tell at all; here a palette is made gray before.
"""

from typing import NamedTuple

import tensorflow as tf

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTH, COLOR_TYPE = 24, 25  # bytes of the file
GRAY, RGB, PALETTE = 0, 2, 3  # color types
PALETTE_CHUNK = int.from_bytes(b"PLTE", "big")
# The first chunk is the header. These are the place of its checksum, and the bits of it that flip
# when the color type changes from palette to gray, whatever else the header says: CRC-32 is affine.
HEADER_CHECKSUM, HEADER_END = 29, 33
PALETTE_TO_GRAY = (0x12, 0xB5, 0xAF, 0xEE)
CHUNK_FRAME = 12  # bytes of a chunk beside its content: length, type, checksum


class PngHeader(NamedTuple):
    """Scalars; the last two mean nothing where the file is no PNG."""

    is_png: tf.Tensor  # bool
    depth: tf.Tensor  # uint8, bits per channel
    color_type: tf.Tensor  # uint8


def png_header(contents: tf.Tensor | bytes) -> PngHeader:
    """Read the header of a PNG, in a graph or eagerly.

    Args:
        contents: A file of any kind, however short.

    Returns:
        The header.

    Example:

    >>> [int(value) for value in png_header(tf.io.encode_png(tf.zeros([2, 3, 1], tf.uint8)))]
    [1, 8, 0]
    """
    length = COLOR_TYPE + 1
    start = tf.strings.substr(contents, 0, length)
    header = tf.io.decode_raw(start, tf.uint8, fixed_length=length)  # zeros where it is shorter
    is_png = tf.strings.substr(contents, 0, len(SIGNATURE)) == SIGNATURE
    is_png &= tf.strings.length(start) == length
    return PngHeader(is_png, header[DEPTH], header[COLOR_TYPE])


def png_palette(contents: tf.Tensor | bytes) -> tf.Tensor:
    """Read the palette of a PNG, in a graph or eagerly.

    Args:
        contents: A PNG.

    Returns:
        Its colors uint8 `[N, 3]`; none where it has no palette.

    Example:

    >>> png_palette(tf.io.encode_png(tf.zeros([2, 3, 1], tf.uint8))).shape
    TensorShape([0, 3])
    """
    size = tf.strings.length(contents)

    def chunk(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Read length and type of the chunk that starts there; what is not there reads as zeros."""
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


def palette_as_gray(contents: tf.Tensor | bytes) -> tf.Tensor:
    """Make a PNG with a palette one whose gray levels are its indices; in a graph or eagerly.

    All checksums keep their worth: what was damaged before does not decode.

    Args:
        contents: A PNG with a palette.

    Returns:
        The PNG; of less than 8 bits the decoder stretches its levels up to 255.

    Example:

    >>> palette_as_gray(b"\\x89PNG" + bytes(40)).shape
    TensorShape([])
    """
    size = tf.strings.length(contents)

    def part(start: int, end: int | tf.Tensor) -> tf.Tensor:
        """Return what there is of these bytes."""
        return tf.strings.substr(contents, tf.minimum(start, size), end - start)

    every_byte = tf.constant([bytes([value]) for value in range(256)])
    checksum = tf.io.decode_raw(
        part(HEADER_CHECKSUM, HEADER_END), tf.uint8, fixed_length=HEADER_END - HEADER_CHECKSUM
    )
    checksum = tf.bitwise.bitwise_xor(checksum, tf.constant(PALETTE_TO_GRAY, tf.uint8))
    return tf.strings.join(
        [
            part(0, COLOR_TYPE),
            every_byte[GRAY],
            part(COLOR_TYPE + 1, HEADER_CHECKSUM),
            tf.strings.reduce_join(tf.gather(every_byte, tf.cast(checksum, tf.int32))),
            part(HEADER_END, tf.maximum(size, HEADER_END)),
        ]
    )
