"""Files of results: what is written is read; anything else is named."""

import dataclasses
import json

import numpy as np
import pytest

from tests.train.compare.made_up import results
from train.common.errors import UserError
from train.compare.results import RunResults, read_results, results_path, write_results


@pytest.fixture
def path(tmp_path):
    path = results_path(tmp_path / "results", "camvid/ce", 3)
    write_results(path, results("camvid/ce", seed=3))
    return path


def test_what_is_written_is_read(path):
    before, after = results("camvid/ce", seed=3), read_results(path)
    assert path.parts[-3:] == ("results", "camvid", "ce-seed3.json")
    for field in dataclasses.fields(RunResults):
        if field.name != "counts":
            assert getattr(after, field.name) == getattr(before, field.name)
    assert after.images == before.images
    for image in before.images:
        np.testing.assert_array_equal(after.counts[image], before.counts[image])


def test_each_image_has_a_line(path):
    lines = [line for line in path.read_text().splitlines() if ".png" in line]
    assert len(lines) == 20


def cut_short(text):
    return text[: len(text) // 2]


def of_other_counts(text):
    return json.dumps({**json.loads(text), "counts": ["truth", "both"]})


def without_images(text):
    return json.dumps({**json.loads(text), "images": {}})


def of_fewer_classes(text):
    return json.dumps({**json.loads(text), "class_names": ["sky", "road"]})


def of_something_else(text):
    return "[1, 2]"


def of_another_recipe(text):
    return json.dumps({**json.loads(text), "name": "camvid/rmi"})


def of_another_seed(text):
    return json.dumps({**json.loads(text), "seed": 1})


@pytest.mark.parametrize(
    "damage",
    [
        cut_short,
        of_other_counts,
        without_images,
        of_fewer_classes,
        of_something_else,
        of_another_recipe,
        of_another_seed,
    ],
)
def test_a_damaged_file_is_named(path, damage):
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=r"ce-seed3\.json is damaged"):
        read_results(path)


def test_a_file_that_is_not_there_is_one_line(path):
    path.unlink()
    with pytest.raises(UserError, match=r"ce-seed3\.json, a run's results, cannot be read: No"):
        read_results(path)
