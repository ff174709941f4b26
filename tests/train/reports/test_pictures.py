"""Palette, overlay, legend, contact sheet."""

import errno
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train.reports.pictures import (
    colorize,
    contact_sheet,
    is_drawable,
    legend_font,
    overlay,
    palette_image,
    save,
    with_legend,
)

COLORS = [(10, 20, 30), (200, 100, 50)]
IDS = np.array([[0, 1, 255]], np.uint8)


def test_colors_of_ids():
    np.testing.assert_array_equal(
        colorize(IDS, COLORS)[0], [(10, 20, 30), (200, 100, 50), (255, 255, 255)]
    )
    picture = palette_image(IDS, COLORS)
    np.testing.assert_array_equal(np.asarray(picture), IDS)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colorize(IDS, COLORS))


def test_an_overlay_is_half_and_half_and_leaves_ignored_pixels():
    image = np.full([1, 3, 3], 100, np.uint8)
    np.testing.assert_array_equal(
        overlay(image, IDS, COLORS)[0], [(55, 60, 65), (150, 100, 75), (100, 100, 100)]
    )


def test_a_legend_breaks_into_lines():
    picture = np.zeros([20, 120, 3], np.uint8)
    one = with_legend(picture, ["a"], COLORS[:1])
    many = with_legend(picture, ["bicyclist", "pedestrian"], COLORS)
    assert one.width == many.width == 120
    # Wider than the picture where a name is: it is not cut off.
    assert with_legend(picture[:, :30], ["bicyclist"], COLORS[:1]).width > 60
    assert 20 < one.height < many.height
    assert (10, 20, 30) in {color for _, color in one.getcolors(10**6)}


def test_a_contact_sheet_holds_images_of_different_sizes():
    rows = []
    for size in [(10, 40), (30, 20)]:
        image = np.full([*size, 3], 7, np.uint8)
        rows.append((image, np.zeros(size, np.uint8), np.ones(size, np.uint8)))
    sheet = np.asarray(contact_sheet(rows, ["sky", "road"], COLORS))
    for color in [(7, 7, 7), *COLORS]:
        assert (sheet == color).all(-1).sum() >= 10 * 40 + 30 * 20


def test_names_that_no_font_has_are_numbers():
    font = legend_font()
    assert is_drawable("tree 2", font)
    assert not is_drawable("tree \U0010fffe", font)
    picture = np.zeros([20, 200, 3], np.uint8)
    odd = with_legend(picture, ["sky", "\U0010fffe"], COLORS)
    numbered = with_legend(picture, ["sky", "class 1"], COLORS)
    np.testing.assert_array_equal(np.asarray(odd), np.asarray(numbered))


@pytest.mark.skipif(not importlib.util.find_spec("matplotlib"), reason="its font is DejaVu")
@pytest.mark.parametrize("name", ["Straße", "дерево", "δέντρο", "Árbol", "شجرة", "עץ"])
def test_scripts_that_are_drawn(name):
    assert is_drawable(name, legend_font())


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "sheet.png"
    picture = Image.new("RGB", (4, 4))
    save(picture, path)
    before = path.read_bytes()

    def full(self, file, **_):
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        save(picture, path)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]
