"""`python -m train check` names everything that is wrong, and goes on."""

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.train import own_data
from tests.train.commands.check_report import facts, rows, wrong
from tests.train.own_data import HEIGHT, IDS


def put_wrong_ids(root):
    ids = IDS.copy()
    ids[0, :2] = 7, 9
    own_data.write_labels(root, "b", ids)
    return own_data.labels(root, "b"), "among 0-1, 255, found 7, 9", own_data.image(root, "b")


def truncate_labels(root):
    own_data.truncate(own_data.labels(root, "d"))
    return own_data.labels(root, "d"), "cannot be decoded"


def truncate_image(root):
    own_data.truncate(own_data.image(root, "d"))
    return own_data.image(root, "d"), "cannot be decoded"


def resize_labels(root):
    own_data.write_labels(root, "b", IDS[:, 2:])
    return own_data.labels(root, "b"), "24, 32", "24, 30"


def remove_class(root):
    for name in "ab":
        own_data.write_labels(root, name, np.zeros_like(IDS))
    return ("no pixel of train has the class 1, tree",)


def list_in_both_splits(root):
    own_data.write_list(root, "val", "cdb")
    return ("images that are in train and in val (1)", own_data.image(root, "b"))


def copy_to_the_other_split(root):
    paths = own_data.image(root, "b"), own_data.image(root, "c")
    shutil.copyfile(*paths)
    return ("images that are in train and in val (1)", f"{paths[0]} = {paths[1]}")


def copy_in_a_split(root):
    paths = own_data.image(root, "c"), own_data.image(root, "d")
    shutil.copyfile(*paths)
    return ("images that are twice in val (1)", f"{paths[0]} = {paths[1]}")


def ignore_everything(root):
    own_data.write_labels(root, "d", np.full_like(IDS, 255))
    return ("label maps of val without any label (1)", own_data.labels(root, "d"))


@pytest.mark.parametrize(
    "damage",
    [
        put_wrong_ids,
        truncate_labels,
        truncate_image,
        resize_labels,
        remove_class,
        list_in_both_splits,
        copy_to_the_other_split,
        copy_in_a_split,
        ignore_everything,
    ],
)
def test_what_is_wrong_is_named(check, root, damage):
    parts = damage(root)
    (line,) = wrong(check(root))
    for part in parts:
        assert str(part) in line


def test_a_class_may_be_missing_from_the_validation_split(check, root):
    for name in "cd":
        own_data.write_labels(root, name, np.zeros_like(IDS))
    assert wrong(check(root)) == []


def test_the_report_goes_on_after_wrong_samples(check, root, tmp_path):
    put_wrong_ids(root)
    truncate_labels(root)
    copy_to_the_other_split(root)
    own_data.write_labels(root, "c", np.full_like(IDS, 255))
    outcome = check(root)
    assert facts(outcome, "train")[0] == "2 samples, 1 of them wrong"
    assert [row[2:4] for row in rows(outcome)] == [["45.45", "1"], ["54.55", "1"]]  # a's alone
    lines = wrong(outcome)
    assert [line.split()[0] for line in lines[:2]] == [
        f"{own_data.labels(root, 'b')}:",
        f"{own_data.labels(root, 'd')}:",
    ]
    assert "without any label" in lines[2]
    assert len(lines) == 3  # b is wrong: what it equals is not looked at
    assert Image.open(tmp_path / "runs" / "check" / "folder.png").height > 2 * HEIGHT


def test_without_any_good_sample_there_is_no_picture(check, root, tmp_path):
    for name in "abcd":
        own_data.truncate(own_data.labels(root, name))
    outcome = check(root)
    assert facts(outcome, "train") == ["2 samples, 2 of them wrong"]
    assert "Labels over images" not in outcome.out
    assert not (tmp_path / "runs" / "check" / "folder.png").exists()
    for name, line in zip("abcd", [w for w in wrong(outcome) if "decoded" in w], strict=True):
        assert str(own_data.labels(root, name)) in line
