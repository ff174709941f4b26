"""Pictures of a training: which color a pixel has, and what the confusion matrix shows."""

import numpy as np
import pytest

from train.reports.panels import (
    HEAT,
    NO_PIXELS,
    WRONG,
    confusion_picture,
    error_map,
    heat_map,
)

WHITE = (255, 255, 255)


def test_errors_are_red_and_ignored_pixels_white():
    image = np.full([1, 3, 3], 100, np.uint8)
    truth, predicted = np.array([[[0, 1, 255]], [[0, 0, 0]]], np.uint8)
    picture = error_map(image, truth, predicted)
    assert picture.dtype == np.uint8
    assert picture[0].tolist() == [[190] * 3, [*WRONG], [*WHITE]]


def test_heat_is_on_a_scale_of_logarithms_around_the_mean():
    gradient = np.array([[1 / 64, 1.0, 0.0, 5.0], [64.0, 0.0, 0.0, 0.0]])
    valid = np.array([[True, True, True, False], [False, True, True, True]])
    gradient[0, 2] = valid.sum() - (1 / 64 + 1.0)  # so that the mean of the valid ones is 1
    picture = heat_map(gradient, valid)
    assert tuple(picture[0, 0]) == HEAT[0]  # below 1/32
    assert tuple(picture[0, 1]) == HEAT[2]  # the mean
    assert tuple(picture[1, 1]) == HEAT[0]  # nothing
    assert tuple(picture[0, 3]) == tuple(picture[1, 0]) == WHITE  # ignored
    assert picture[0, 2].sum() > picture[0, 1].sum()


def test_without_any_gradient_all_is_dark():
    picture = heat_map(np.zeros([2, 2]), np.ones([2, 2], bool))
    assert (picture == HEAT[0]).all()


def cell(picture, count, i, j):
    """Return the color in the corner of a cell, where no number is."""
    side = 30 if count <= 32 else 12
    start = picture.width - 8 - side * count
    return picture.getpixel((start + side * j + 1, start + side * i + 1))


@pytest.mark.parametrize("count", [2, 11, 33, 150])
def test_rows_of_the_confusion_matrix_are_shares_of_the_truth(count):
    matrix = np.zeros([count, count])
    matrix[0, 0], matrix[0, 1] = 30, 10
    picture = confusion_picture(matrix, [f"class {i}" for i in range(count)])
    right, wrong = cell(picture, count, 0, 0), cell(picture, count, 0, 1)
    assert right[2] > right[0]  # blue
    assert wrong[0] > wrong[2]  # red
    assert cell(picture, count, 1, 0) == NO_PIXELS  # no pixel of that class
    if count > 2:
        assert cell(picture, count, 0, 2) == WHITE
    matrix[0] *= 7
    again = confusion_picture(matrix, [f"class {i}" for i in range(count)])
    assert again.tobytes() == picture.tobytes()
    assert picture.width < 2000


def test_a_name_that_no_font_has_becomes_a_number():
    names = ["sky", "\U000f0000"]
    one, other = (confusion_picture(np.eye(2), n) for n in (names, ["sky", "class 1"]))
    assert one.tobytes() == other.tobytes()
