"""Label maps from PNG files: the header says what pixels are, tables say what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from tfsegloss.png import GREY, PALETTE, RGB, png_header, png_palette
from train.data.palette import Colour

UNKNOWN = -1
PER_CHANNEL = np.array([1 << 16, 1 << 8, 1], np.int32)


class DataError(Exception):
    """What is wrong with a file, without its name."""


@dataclass(frozen=True)
class LabelCode:
    """What the pixels of label maps mean.

    Args:
        dataset: Whose label maps, for error messages.
        grey: Class or 255, ignored, of every grey level that may occur.
        colours: Class or 255 of every colour that may occur.
    """

    dataset: str
    grey: Mapping[int, int]
    colours: Mapping[Colour, int]

    @cached_property
    def grey_table(self) -> np.ndarray:
        """Class, 255 or UNKNOWN of each grey level, int16 `[256]`."""
        table = np.full(256, UNKNOWN, np.int16)
        table[list(self.grey)] = list(self.grey.values())
        return table

    @cached_property
    def colour_table(self) -> tuple[np.ndarray, np.ndarray]:
        """Colours as sorted numbers int32 `[N]`, and their classes or 255, uint8 `[N]`."""
        keys = np.array(sorted(self.colours), np.int32).reshape(-1, 3)
        ids = [self.colours[tuple(key)] for key in keys.tolist()]
        return keys @ PER_CHANNEL, np.array(ids, np.uint8)


def decode_pixels(contents: tf.Tensor) -> tf.Tensor:
    """Grey levels uint8 `[H, W, 1]` or colours `[H, W, 3]` of a label map, as its header says.

    Args:
        contents: A PNG of 8-bit grey, of a palette, or RGB.

    Raises:
        DataError: In eager mode, what else it is; in a graph a `tf.errors.InvalidArgumentError`.
    """
    is_png, depth, colour_type = png_header(contents)
    require(is_png, "a label map must be a PNG: other formats blur or change ids")
    is_grey = colour_type == GREY
    # Of grey TensorFlow stretches 1 to 4 bits silently, and halves 16 of any type.
    require(
        (depth == 8) | (colour_type == PALETTE),
        "a label map must have 8 bits per channel; this PNG has {}",
        depth,
    )
    require(
        is_grey | (colour_type == RGB) | (colour_type == PALETTE),
        "a label map must be grey, palette or RGB, without alpha; this PNG has colour type {}",
        colour_type,
    )
    pixels = tf.cond(
        is_grey,
        lambda: tf.io.decode_png(contents, channels=1),
        lambda: tf.io.decode_png(contents, channels=3),
    )
    checks = tf.cond(
        colour_type == PALETTE, lambda: _unambiguous(contents, pixels), lambda: tf.constant(True)
    )
    with tf.control_dependencies([checks]):
        return tf.identity(pixels)


def _unambiguous(contents: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Two indices of one colour cannot be told apart: TensorFlow decodes a palette to colours.

    Entries that no pixel has may be equal: many programs fill up palettes with black.
    """
    palette = tf.sort(_keys(png_palette(contents)))
    twice = tf.unique(tf.boolean_mask(palette[1:], palette[1:] == palette[:-1]))[0]
    used = tf.reduce_any(_keys(pixels)[..., tf.newaxis] == twice, axis=[0, 1])  # [N]
    wrong = tf.boolean_mask(twice, used)[:1]  # [0 or 1]
    checks = require(
        ~tf.reduce_any(used),
        "two entries of the palette have the colour {}, so its ids are lost: save them as grey "
        "levels",
        tf.bitwise.right_shift(wrong[:, tf.newaxis], [[16, 8, 0]]) % 256,
    )
    with tf.control_dependencies(checks):
        return tf.constant(True)


def pixel_ids(pixels: tf.Tensor, code: LabelCode) -> tf.Tensor:
    """Ids uint8 `[H, W]`, in [0, classes) or 255, of what `decode_pixels` returns.

    Raises:
        DataError: In eager mode, which pixels mean nothing; in a graph a
            `tf.errors.InvalidArgumentError`.
    """
    return tf.cond(
        tf.shape(pixels)[-1] == 1,
        lambda: _ids_of_grey(pixels[..., 0], code),
        lambda: _ids_of_colours(pixels, code),
    )


def _ids_of_grey(grey: tf.Tensor, code: LabelCode) -> tf.Tensor:
    ids = tf.gather(tf.constant(code.grey_table), tf.cast(grey, tf.int32))
    wrong = ids == UNKNOWN
    require(
        ~tf.reduce_any(wrong),
        f"label ids of {code.dataset} must be among {_ranges(code.grey)}, found {{}}",
        tf.sort(tf.unique(tf.boolean_mask(grey, wrong))[0]),
    )
    return tf.cast(ids, tf.uint8)


def _ids_of_colours(colours: tf.Tensor, code: LabelCode) -> tf.Tensor:
    known, ids = map(tf.constant, code.colour_table)
    require(known.shape[0] > 0, f"{code.dataset} has no colours: its label maps must be 8-bit grey")
    keys = _keys(colours)  # [H, W]
    place = tf.searchsorted(known, tf.reshape(keys, [-1]))
    place = tf.reshape(tf.minimum(place, known.shape[0] - 1), tf.shape(keys))
    unknown = tf.gather(known, place) != keys
    first = tf.where(unknown)[:1]  # [0 or 1, 2]
    require(
        ~tf.reduce_any(unknown),
        f"no class of {code.dataset} has the colour {{}} of pixel {{}} (row, column)",
        tf.gather_nd(colours, first),
        first,
    )
    return tf.gather(ids, place)


def _keys(colours: tf.Tensor) -> tf.Tensor:
    """Colours uint8 `[..., 3]` as numbers int32 `[...]`."""
    return tf.reduce_sum(tf.cast(colours, tf.int32) * PER_CHANNEL, axis=-1)


def _ranges(numbers: Mapping[int, int]) -> str:
    """Like "0-10, 255"."""
    numbers = sorted(numbers)
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    pairs = zip(starts, ends, strict=True)
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in pairs)


def require(condition: tf.Tensor | bool, message: str, *values: tf.Tensor) -> list[tf.Operation]:
    """Eagerly a DataError with the values in the message's places; in a graph an assertion."""
    if not tf.executing_eagerly():
        return [tf.debugging.Assert(condition, [message, *values])]
    if not condition:
        raise DataError(message.format(*(", ".join(map(str, _plain(v))) for v in values)))
    return []


def _plain(value: tf.Tensor) -> list:
    return tf.reshape(value, [-1]).numpy().tolist()
