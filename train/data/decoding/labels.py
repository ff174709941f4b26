"""Label maps from PNG files: the header says what pixels are, tables say what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from train.data.decoding.errors import DataError, require
from train.data.decoding.palette import IGNORED, Color
from train.data.decoding.png import GRAY, PALETTE, RGB, palette_as_gray, png_header, png_palette

# Entries of a table from values to ids: the value has no class; the palette has its color twice.
UNKNOWN, AMBIGUOUS = -1, -2
# So many ids or colors without a meaning in one label map are no mistake in a table.
MANY = 8
PNG_ALONE = "a label map must be a PNG: other formats blur or change ids"


class RawLabels(NamedTuple):
    """A label map as it is stored, and what that means."""

    values: tf.Tensor  # uint8 [H, W]
    table: tf.Tensor  # int16 [256]: class, 255, UNKNOWN or AMBIGUOUS of each value
    colors: tf.Tensor  # uint8 [N, 3]: RGB of each value, where it is an index of a palette


@dataclass(frozen=True)
class LabelEncoding:
    """What the pixels of label maps mean.

    Args:
        dataset: Whose label maps, for error messages.
        gray: Class or 255, ignored, of every gray level that may occur.
        colors: Class or 255 of every color that may occur.
        remedy: What to do about other ids and colors, for error messages.
    """

    dataset: str
    gray: Mapping[int, int]
    colors: Mapping[Color, int]
    remedy: str = ""

    @cached_property
    def num_classes(self) -> int:
        """Number of classes."""
        known = {*self.gray.values(), *self.colors.values()} - {IGNORED}
        return max(known, default=-1) + 1

    @cached_property
    def gray_table(self) -> np.ndarray:
        """Class, 255 or UNKNOWN of each gray level, int16 `[256]`."""
        table = np.full(256, UNKNOWN, np.int16)
        table[list(self.gray)] = list(self.gray.values())
        return table

    @cached_property
    def color_table(self) -> tuple[np.ndarray, np.ndarray]:
        """Colors as sorted numbers int32 `[N + 1]`, and their classes or 255, int16 `[N + 1]`.

        The last number is no color, so that the table is not empty.
        """
        rgba = np.array([(*color, 0) for color in self.colors], np.uint8).reshape(-1, 4)
        numbers = np.append(rgba.view(np.int32)[:, 0], np.int32(2**31 - 1))
        ids = np.append(list(self.colors.values()), UNKNOWN).astype(np.int16)
        order = np.argsort(numbers)
        return numbers[order], ids[order]

    def ids_of(self, rgba: tf.Tensor) -> tf.Tensor:
        """Return class, 255 or UNKNOWN, int16 `[…]`, of RGBA uint8 `[…, 4]`; alpha is ignored."""
        known, ids = map(tf.constant, self.color_table)
        numbers = tf.bitwise.bitwise_and(tf.bitcast(rgba, tf.int32), 0xFFFFFF)
        place = tf.searchsorted(known, tf.reshape(numbers, [-1]))
        place = tf.reshape(tf.minimum(place, len(ids) - 1), tf.shape(numbers))
        return tf.where(tf.gather(known, place) == numbers, tf.gather(ids, place), UNKNOWN)


def decode_labels(contents: tf.Tensor, encoding: LabelEncoding) -> tf.Tensor:
    """Decode a label map to ids uint8 `[H, W]`, in [0, num_classes) or 255 where ignored.

    Args:
        contents: A PNG of 8-bit gray, of a palette, or RGB.
        encoding: What its pixels mean.

    Raises:
        DataError: In eager mode, what is wrong; in a graph a `tf.errors.InvalidArgumentError`.
    """
    raw_labels = decode_raw_labels(contents, encoding)
    return class_ids(raw_labels.values, raw_labels, encoding)


def decode_raw_labels(contents: tf.Tensor, encoding: LabelEncoding) -> RawLabels:
    """Decode a label map as it is stored; `class_ids` makes ids of all of it or of a part.

    Args:
        contents: A PNG of 8-bit gray, of a palette, or RGB.
        encoding: What its pixels mean.

    Raises:
        DataError: In eager mode, what is wrong; in a graph a `tf.errors.InvalidArgumentError`.
    """
    is_png, depth, color_type = png_header(contents)
    require(is_png, PNG_ALONE)
    require(
        (color_type == GRAY) | (color_type == RGB) | (color_type == PALETTE),
        "a label map must be gray, palette or RGB, without alpha; this PNG has color type {}",
        lambda: [color_type],
    )
    # TensorFlow silently stretches gray of 1 to 4 bits to 8, and cuts 16 bits of any type to 8.
    require(
        (depth == 8) | (color_type == PALETTE),
        "a label map must have 8 bits per channel; this PNG has {}",
        lambda: [depth],
    )
    return tf.case(
        [
            (color_type == GRAY, lambda: _gray_levels(contents, encoding)),
            (color_type == PALETTE, lambda: _palette_levels(contents, depth, encoding)),
        ],
        default=lambda: _rgb_levels(contents, encoding),
    )


def _gray_levels(contents: tf.Tensor, encoding: LabelEncoding) -> RawLabels:
    values = tf.io.decode_png(contents, channels=1)[..., 0]
    return RawLabels(values, tf.constant(encoding.gray_table), tf.zeros([0, 3], tf.uint8))


def _palette_levels(contents: tf.Tensor, depth: tf.Tensor, encoding: LabelEncoding) -> RawLabels:
    values = tf.io.decode_png(palette_as_gray(contents), channels=1)[..., 0]
    # The decoder stretches gray of few bits to the range up to 255.
    stretch = tf.cast(255 // (2 ** tf.cast(depth, tf.int32) - 1), tf.uint8)
    values = tf.cond(stretch > 1, lambda: values // stretch, lambda: values)
    colors = png_palette(contents)[:256]
    rgba = tf.pad(colors, [[0, 0], [0, 1]])
    _, place, counts = tf.unique_with_counts(tf.bitcast(rgba, tf.int32))
    ids = encoding.ids_of(rgba)
    # Some tools fill palettes up with one color, such as the background's, whose index is its id.
    certain = (tf.gather(counts, place) == 1) | (ids == tf.cast(tf.range(tf.size(ids)), tf.int16))
    ids = tf.where(certain, ids, tf.constant(AMBIGUOUS, tf.int16))
    table = tf.pad(ids, [[0, 256 - tf.shape(ids)[0]]], constant_values=UNKNOWN)
    return RawLabels(values, tf.ensure_shape(table, [256]), colors)


def _rgb_levels(contents: tf.Tensor, encoding: LabelEncoding) -> RawLabels:
    colors = tf.io.decode_png(contents, channels=4)
    ids = encoding.ids_of(colors)  # [H, W]

    if tf.executing_eagerly() and tf.reduce_min(ids) < 0:
        _name_unknown_colors(colors.numpy(), ids.numpy(), encoding)
    require(tf.reduce_min(ids) >= 0, "colors without a class")
    same = tf.constant(np.arange(256, dtype=np.int16))
    return RawLabels(tf.cast(ids, tf.uint8), same, tf.zeros([0, 3], tf.uint8))


def _name_unknown_colors(colors: np.ndarray, ids: np.ndarray, encoding: LabelEncoding) -> None:
    row, column = np.argwhere(ids == UNKNOWN)[0]
    color = ", ".join(map(str, colors[row, column, :3]))
    count = len(np.unique(colors[ids == UNKNOWN], axis=0))
    raise DataError(
        f"no class of {encoding.dataset} has the color {color} of pixel {row}, {column} "
        f"(row, column){_many(count)}{encoding.remedy}"
    )


def class_ids(values: tf.Tensor, raw_labels: RawLabels, encoding: LabelEncoding) -> tf.Tensor:
    """Return ids uint8 `[h, w]`, in [0, num_classes) or 255 where ignored.

    Args:
        values: All of `raw_labels.values` or a part, uint8 `[h, w]`.
        raw_labels: What they mean.
        encoding: For error messages.

    Raises:
        DataError: In eager mode, which values mean nothing; in a graph a
            `tf.errors.InvalidArgumentError`.
    """
    # Many palettes have no entry 255, and many label maps no ignored pixel.
    ignored = (values == IGNORED) & (raw_labels.table[IGNORED] == IGNORED)
    plain = tf.reduce_all((values < encoding.num_classes) | ignored)
    plain &= tf.reduce_all(
        raw_labels.table[: encoding.num_classes] == np.arange(encoding.num_classes)
    )
    return tf.cond(plain, lambda: values, lambda: _look_up(values, raw_labels, encoding))


def _look_up(values: tf.Tensor, raw_labels: RawLabels, encoding: LabelEncoding) -> tf.Tensor:
    """Look ids up in the table, at ten times the cost of seeing that they are the values."""
    ids = tf.gather(raw_labels.table, tf.cast(values, tf.int32))
    if not tf.executing_eagerly() or tf.reduce_min(ids) >= 0:
        require(tf.reduce_min(ids) >= 0, "values without a meaning")
        return tf.cast(ids, tf.uint8)
    place = tf.where(ids < 0)[0].numpy()
    value = int(values[tuple(place)])
    if 0 < len(raw_labels.colors) <= value:
        raise DataError(f"index {value} is beyond the palette's {len(raw_labels.colors)} colors")
    if not len(raw_labels.colors):
        found = sorted({*values[ids < 0].numpy().tolist()})
        raise DataError(
            f"label ids of {encoding.dataset} must be among {_ranges(encoding.gray)}, "
            f"found {', '.join(map(str, found))}{_many(len(found))}{encoding.remedy}"
        )
    color = ", ".join(map(str, raw_labels.colors[value].numpy()))
    if raw_labels.table[value] == AMBIGUOUS:
        raise DataError(
            f"two entries of the palette have the color {color}, so it is open what they mean: "
            "save the ids as gray levels"
        )
    raise DataError(
        f"no class of {encoding.dataset} has the color {color} of pixel {place[0]}, {place[1]} "
        f"(row, column){encoding.remedy}"
    )


def _many(count: int) -> str:
    """Say what so many ids or colors without a meaning may come from."""
    if count < MANY:
        return ""
    return (
        f"; {count} of them look like a mask that was smoothed, resized with interpolation or a "
        "JPEG once: export it again without"
    )


def _ranges(numbers: Mapping[int, int]) -> str:
    """Write numbers as "0-10, 255"."""
    numbers = sorted(numbers)
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    pairs = zip(starts, ends, strict=True)
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in pairs)
