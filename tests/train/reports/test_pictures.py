"""Palette, overlay, legend, contact sheet."""

import numpy as np

from train.reports.pictures import colorize, contact_sheet, overlay, palette_image, with_legend

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
    picture = np.zeros([20, 100, 3], np.uint8)
    one = with_legend(picture, ["a"], COLORS[:1])
    many = with_legend(picture, ["bicyclist", "pedestrian"], COLORS)
    assert one.width == many.width == 100
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
