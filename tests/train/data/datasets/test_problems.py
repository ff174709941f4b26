"""`python -m train check` names everything that is wrong, and goes on."""

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.train import own_data
from tests.train.check_report import facts, rows, wrong
from tests.train.own_data import HEIGHT, IDS, image, labels

SPLITS = {"train": "abcd", "val": "efghijklm"}


@pytest.fixture
def root(tmp_path):
    """Own data with a class that nobody has seen; nothing else is wrong yet."""
    root = own_data.write(tmp_path / "own", SPLITS)
    (root / "classes.yaml").write_text("classes: [road, tree, sea]\n")
    return root


def put_wrong_ids(root, name):
    ids = IDS.copy()
    ids[0, :2] = 7, 9
    own_data.write_labels(root, name, ids)


def test_everything_that_is_wrong_is_named(check, root):
    put_wrong_ids(root, "a")
    own_data.truncate(labels(root, "e"))
    own_data.truncate(image(root, "f"))
    own_data.write_labels(root, "g", IDS[:, 2:])
    own_data.write_labels(root, "h", np.full_like(IDS, 255))
    shutil.copyfile(image(root, "i"), image(root, "j"))  # in a split
    shutil.copyfile(image(root, "c"), image(root, "k"))  # in both
    own_data.write_list(root, "val", SPLITS["val"] + "b")  # listed by both
    # It lacks that class as well, but is not trained on: only of train that is wrong.
    expected = [
        (labels(root, "a"), "among 0-2, 255, found 7, 9", image(root, "a")),
        ("no pixel of train has the class 2, sea",),
        (labels(root, "e"), "cannot be decoded"),
        (image(root, "f"), "cannot be decoded"),
        (labels(root, "g"), "24, 32", "24, 30"),
        ("label maps of val without any label (1)", labels(root, "h")),
        ("images that are twice in val (1)", f"{image(root, 'i')} = {image(root, 'j')}"),
        ("in train and in val (2)", image(root, "b"), f"{image(root, 'c')} = {image(root, 'k')}"),
    ]
    for line, parts in zip(wrong(check(root)), expected, strict=True):
        for part in parts:
            assert str(part) in line


@pytest.mark.parametrize("lists", [True, False])
def test_all_missing_label_maps_are_named(check, root, lists):
    if not lists:
        for split in SPLITS:
            (root / f"{split}.txt").unlink()
            for folder in ("images", "labels"):
                (root / folder / split).mkdir()
                for name in SPLITS[split]:
                    path = root / folder / f"{name}.png"
                    path.rename(path.parent / split / path.name)
    missing = [next((root / "labels").rglob(f"{name}.png")) for name in "efm"]
    for path in missing:
        path.unlink()
    lines = wrong(check(root))
    for path, line in zip(missing, lines[:3], strict=True):
        assert path.stem in line.split(";")[0]
        assert "no file" in line or f"has no label map {path}" in line
    assert len(lines) == 4  # and the class that nobody has seen
    assert "(and" not in "".join(lines)


def test_the_report_goes_on_after_wrong_samples(check, root, tmp_path):
    put_wrong_ids(root, "b")
    own_data.truncate(labels(root, "d"))
    shutil.copyfile(image(root, "b"), image(root, "e"))
    outcome = check(root)
    assert facts(outcome, "train")[0] == "4 samples, 2 of them wrong"
    shares = [["45.45", "2"], ["54.55", "2"], ["0.00", "0"]]  # of the others, a and c
    assert [row[2:4] for row in rows(outcome)] == shares
    lines = wrong(outcome)
    assert [line.split()[0] for line in lines[:2]] == [f"{labels(root, n)}:" for n in "bd"]
    assert len(lines) == 3  # b is wrong: what it equals is not looked at
    assert Image.open(tmp_path / "runs" / "check" / "folder.png").height > 2 * HEIGHT


def test_without_any_good_sample_there_is_no_picture(check, root, tmp_path):
    for names in SPLITS.values():
        for name in names:
            own_data.truncate(labels(root, name))
    outcome = check(root)
    assert facts(outcome, "train") == ["4 samples, 4 of them wrong"]
    assert "Labels over images" not in outcome.out
    assert not (tmp_path / "runs" / "check" / "folder.png").exists()
    assert len([line for line in wrong(outcome) if "decoded" in line]) == 13
