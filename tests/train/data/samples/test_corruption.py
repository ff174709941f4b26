"""Damaged files are named, or give what their author wrote. Nothing in between."""

import io
import itertools
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from train.data.datasets.registry import SCENES
from train.data.decoding.errors import DataError
from train.data.decoding.labels import decode_labels
from train.data.decoding.palette import IGNORED, color_table
from train.data.samples.decode import decode_sample
from train.data.samples.samples import FileSamples
from train.data.samples.statistics import collect_statistics

SIZE = (24, 32)
TABLE = color_table(SCENES.colors, SCENES.ignored_colors[0])
RANDOM = np.random.default_rng(0)


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def some_ids(size=SIZE):
    ids = RANDOM.integers(0, SCENES.num_classes + 1, [-(-side // 4) for side in size])
    ids = ids.repeat(4, 0).repeat(4, 1)[: size[0], : size[1]].astype(np.uint8)
    return np.where(ids == SCENES.num_classes, IGNORED, ids).astype(np.uint8)


def as_gray(ids):
    return encoded(Image.fromarray(ids))


def as_palette(ids, entries=256):
    picture = Image.fromarray(ids)
    picture.putpalette(TABLE[:entries].tobytes())
    return encoded(picture, bits=8)


def as_short_palette(ids):
    """No entry 255, but most of the bytes are pixels."""
    return as_palette(np.where(ids == IGNORED, 0, ids), SCENES.num_classes)


def as_rgb(ids):
    return encoded(Image.fromarray(TABLE[ids]))


FLAVOURS = (as_gray, as_palette, as_rgb)


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


def empty(contents):
    return b""


# What is done to the bytes of a file, whichever it is.
TO_BYTES = (truncate, flip_bits, zero_the_middle, repeat_a_part, empty)
# What stands in a label map's place.
INSTEAD_OF_LABELS = (
    lambda: encoded(a_photograph(), "JPEG"),  # image and labels swapped
    lambda: encoded(Image.fromarray(some_ids()), "GIF"),
    lambda: encoded(Image.fromarray(some_ids()), "BMP"),
    lambda: encoded(Image.fromarray(some_ids().astype(np.uint16))),
    lambda: encoded(Image.fromarray(some_ids()).convert("LA")),
    lambda: encoded(a_photograph()),
    lambda: as_gray(some_ids((SIZE[1], SIZE[0]))),
    lambda: as_palette(some_ids((SIZE[0] + 1, SIZE[1]))),
    lambda: as_gray(some_ids() % 100 + SCENES.num_classes),
    lambda: b"no picture at all",
)
# What stands in an image's place.
INSTEAD_OF_IMAGES = (
    lambda: encoded(a_photograph(), "GIF"),
    lambda: encoded(a_photograph(), "BMP"),
    lambda: encoded(a_photograph((SIZE[1], SIZE[0])), "JPEG"),
    lambda: encoded(a_photograph((SIZE[0], SIZE[1] + 1))),
    lambda: b"no picture at all",
)


class Sample(NamedTuple):
    """One that something was done to, or not."""

    image: bytes
    labels: bytes
    ids: np.ndarray  # what the author of the labels wrote
    right: bool = False  # whether nothing is wrong with it
    wrong: bool = False  # whether it cannot be right any more


def good(kind="JPEG", flavour=as_palette):
    ids = some_ids()
    return Sample(encoded(a_photograph(), kind), flavour(ids), ids, right=True)


def damaged_samples():
    """200 of them."""
    for damage, flavour, _ in itertools.product(TO_BYTES, FLAVOURS, range(6)):
        sample = good(flavour=flavour)
        labels = damage(sample.labels)
        yield sample._replace(labels=labels, right=False, wrong=damage is empty)
    for damage, kind, _ in itertools.product(TO_BYTES, ("PNG", "JPEG"), range(6)):
        sample = good(kind)
        wrong = damage is empty or kind == "PNG" and damage is not flip_bits
        yield sample._replace(image=damage(sample.image), right=False, wrong=wrong)
    for instead, _ in itertools.product(INSTEAD_OF_LABELS, range(3)):
        yield good()._replace(labels=instead(), right=False, wrong=True)
    for instead, _ in itertools.product(INSTEAD_OF_IMAGES, range(4)):
        yield good()._replace(image=instead(), right=False, wrong=True)


def test_of_200_damaged_samples_each_is_named_or_right(tmp_path):
    damaged = [*damaged_samples()]
    assert len(damaged) == 200
    everything = [*damaged, *(good() for _ in range(20))]
    RANDOM.shuffle(everything)
    images, labels = [], []
    for place, sample in enumerate(everything):
        images.append(tmp_path / f"{place:03d}.image")
        images[-1].write_bytes(sample.image)
        labels.append(tmp_path / f"{place:03d}.labels")
        labels[-1].write_bytes(sample.labels)
    samples = FileSamples(SCENES.encoding, tuple(images), tuple(labels))
    faults = collect_statistics(samples, SCENES.num_classes).faults
    for place, sample in enumerate(everything):
        if place in faults:
            assert not sample.right
            assert f"{place:03d}." in faults[place]
            assert "\n" not in faults[place]
        else:
            assert not sample.wrong
            read = decode_sample(*samples.read(tf.constant(place)), samples)[1]
            np.testing.assert_array_equal(read, sample.ids)
    unnoticed = [s for i, s in enumerate(everything) if i not in faults and not s.right]
    assert len(unnoticed) < 30  # nearly all of them flipped bits of JPEGs


SHORT_FLAVOURS = (
    as_gray,
    as_short_palette,
    as_rgb,
    pytest.param(as_palette, marks=pytest.mark.full),
)


def refused_or_right(contents, expected):
    try:
        read = decode_labels(tf.constant(contents), SCENES.encoding)
    except (DataError, tf.errors.OpError):
        return
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("flavour", SHORT_FLAVOURS)
def test_no_damage_of_a_label_map_changes_an_id(flavour):
    ids = np.where((ids := some_ids((5, 7))) == IGNORED, 0, ids)
    contents = flavour(ids)
    for place in range(len(contents)):
        damaged = bytearray(contents)
        damaged[place] ^= 1 << place % 8
        refused_or_right(bytes(damaged), ids)
    for length in range(0, len(contents), 3):
        refused_or_right(contents[:length], ids)
