"""What the bytes of a PNG say: its header, its palette, and its indices as gray levels."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from train.data.decoding.png import GRAY, PALETTE, RGB, palette_as_gray, png_header, png_palette

COLORS = [(0, 0, 0), (200, 10, 30), (5, 6, 7)]  # so few that 2 bits do
MANY = [(i, 255 - i, 7) for i in range(256)]
INDICES = np.array([[0, 1, 2], [2, 2, 1]], np.uint8)


def png(pixels, palette=None):
    picture = Image.fromarray(pixels)
    if palette:
        picture.putpalette(np.array(palette, np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("contents", "depth", "color_type"),
    [
        (png(INDICES), 8, GRAY),
        (png(INDICES.astype(np.uint16)), 16, GRAY),
        (png(np.zeros([2, 3, 3], np.uint8)), 8, RGB),
        (png(INDICES, MANY), 8, PALETTE),
        (png(INDICES, COLORS), 2, PALETTE),
    ],
    ids=["gray", "gray of 16 bits", "RGB", "palette", "palette of 2 bits"],
)
def test_the_header_says_depth_and_kind(contents, depth, color_type):
    in_graph = tf.function(png_header)(tf.constant(contents))
    for header in (png_header(contents), in_graph):
        assert [int(value) for value in header] == [True, depth, color_type]


@pytest.mark.parametrize(
    "contents", [b"", b"\x89PNG", png(INDICES)[:25], b"GIF89a" + bytes(40)], ids=len
)
def test_other_files_are_no_png(contents):
    assert not png_header(contents).is_png


def test_the_palette_is_that_of_the_file():
    np.testing.assert_array_equal(png_palette(png(INDICES, COLORS))[: len(COLORS)], COLORS)
    assert png_palette(png(INDICES)).shape == (0, 3)


def test_gray_levels_are_the_indices():
    contents = png(INDICES, MANY)
    gray = tf.io.decode_png(palette_as_gray(contents), channels=1)[..., 0]
    np.testing.assert_array_equal(gray, INDICES)


def test_a_damaged_header_stays_damaged():
    damaged = bytearray(png(INDICES, MANY))
    damaged[29] ^= 1  # in its checksum
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_png(palette_as_gray(bytes(damaged)))
