"""Damaged files are named, or give what their author wrote. Nothing in between."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from train.data.datasets import SCENES
from train.data.labels import DataError, decode_labels
from train.data.palette import IGNORED, colour_table
from train.data.reading import decode_sample
from train.data.samples import FileSamples
from train.data.survey import survey

SIZE = (24, 32)
TABLE = colour_table(SCENES.colours, SCENES.ignored_colours[0])
RANDOM = np.random.default_rng(0)


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def some_ids(size=SIZE):
    ids = RANDOM.integers(0, SCENES.classes + 1, [-(-side // 4) for side in size])
    ids = ids.repeat(4, 0).repeat(4, 1)[: size[0], : size[1]].astype(np.uint8)
    return np.where(ids == SCENES.classes, IGNORED, ids).astype(np.uint8)


def as_grey(ids):
    return encoded(Image.fromarray(ids))


def as_palette(ids):
    picture = Image.fromarray(ids)
    picture.putpalette(TABLE.tobytes())
    return encoded(picture)


def as_rgb(ids):
    return encoded(Image.fromarray(TABLE[ids]))


FLAVOURS = (as_grey, as_palette, as_rgb)


def a_photograph(size=SIZE):
    return Image.fromarray(RANDOM.integers(0, 256, [*size, 3]).astype(np.uint8))


def truncate(contents):
    return contents[: RANDOM.integers(1, len(contents))]


def flip_bits(contents):
    damaged = bytearray(contents)
    for place in RANDOM.integers(len(contents), size=RANDOM.integers(1, 4)):
        damaged[place] ^= 1 << RANDOM.integers(8)
    return bytes(damaged)


def zero_the_middle(contents):
    third = len(contents) // 3
    return contents[:third] + bytes(third) + contents[2 * third :]


def repeat_a_part(contents):
    place = int(RANDOM.integers(8, len(contents)))
    return contents[:place] + contents[place - 8 :]


# What is done to the bytes of a file, whichever it is.
TO_BYTES = (truncate, flip_bits, flip_bits, zero_the_middle, repeat_a_part, lambda contents: b"")
# What stands in a label map's place.
INSTEAD = (
    lambda: encoded(a_photograph(), "JPEG"),  # image and labels swapped
    lambda: encoded(Image.fromarray(some_ids()), "GIF"),
    lambda: encoded(Image.fromarray(some_ids()), "BMP"),
    lambda: encoded(Image.fromarray(some_ids().astype(np.uint16))),
    lambda: encoded(Image.fromarray(some_ids()).convert("LA")),
    lambda: encoded(a_photograph()),
    lambda: as_grey(some_ids((SIZE[1], SIZE[0]))),
    lambda: as_palette(some_ids((SIZE[0] + 1, SIZE[1]))),
    lambda: as_grey(some_ids() % 100 + SCENES.classes),
    lambda: b"no picture at all",
)


def cases():
    """200 samples: (image, labels, the ids the author wrote, whether a fault must be named)."""
    for number in range(200):
        ids = some_ids()
        image = encoded(a_photograph(), ("PNG", "JPEG")[number // 2 % 2])
        labels = FLAVOURS[number % 3](ids)
        if number % 4 == 0:
            instead = INSTEAD[number // 4 % len(INSTEAD)]
            yield image, instead(), ids, True
        elif number % 4 == 1:
            yield TO_BYTES[number // 4 % len(TO_BYTES)](image), labels, ids, False
        else:
            yield image, TO_BYTES[number // 4 % len(TO_BYTES)](labels), ids, False


def test_of_200_damaged_samples_each_is_named_or_right(tmp_path):
    damaged = [*cases()]
    good = [(encoded(a_photograph(), "JPEG"), as_palette(ids), ids, False) for ids in [some_ids()]]
    everything = [*damaged, *good * 20]
    order = RANDOM.permutation(len(everything))
    images, labels = [], []
    for place, number in enumerate(order):
        for paths, contents in zip((images, labels), everything[number][:2], strict=True):
            paths.append(tmp_path / f"{place:03d}.{'image' if paths is images else 'labels'}")
            paths[-1].write_bytes(contents)
    samples = FileSamples(SCENES.code, tuple(images), tuple(labels))
    faults = survey(samples, SCENES.classes).faults
    for place, number in enumerate(order):
        _, _, ids, must_be_named = everything[number]
        if place in faults:
            assert number < len(damaged)
            assert f"{place:03d}." in faults[place]
            assert "\n" not in faults[place]
        else:
            assert not must_be_named
            read = decode_sample(*samples.read(tf.constant(place)), samples)[1]
            np.testing.assert_array_equal(read, ids)
    assert len(faults) > 150  # of a JPEG flipped bits go unnoticed, and its labels are right


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_no_flipped_bit_of_a_label_map_changes_an_id(flavour):
    ids = some_ids((5, 7))
    contents = flavour(ids)
    for place in range(len(contents)):
        damaged = bytearray(contents)
        damaged[place] ^= 1 << place % 8
        try:
            read = decode_labels(tf.constant(bytes(damaged)), SCENES.code)
        except (DataError, tf.errors.OpError):
            continue
        np.testing.assert_array_equal(read, ids)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_no_truncated_label_map_changes_an_id(flavour):
    ids = some_ids((5, 7))
    contents = flavour(ids)
    for length in range(0, len(contents), 3):
        try:
            read = decode_labels(tf.constant(contents[:length]), SCENES.code)
        except (DataError, tf.errors.OpError):
            continue
        np.testing.assert_array_equal(read, ids)
