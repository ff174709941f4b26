"""What the header of a PNG says of its pixels, which TensorFlow's decoder does not tell.

The decoder reads a palette as grey levels, and stretches 1 to 4 bits of grey, silently.
"""

from typing import NamedTuple

import tensorflow as tf

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEPTH, COLOUR_TYPE = 24, 25  # bytes of the file
GREY, RGB, PALETTE = 0, 2, 3  # colour types


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
