"""`python -m savedmodels evaluate` from the outside: one score, whoever computes it."""

import json
import shutil

import pytest
from PIL import Image

from tests.commands import assert_one_line
from train.data.datasets.registry import SCENES


@pytest.fixture
def score(savedmodels, exported, scenes_root, tmp_path):
    """Score on the scenes, or on what is given in their place."""

    def run(*options, model=exported, root=scenes_root, report=tmp_path / "report"):
        options = [f"--data.root={root}", f"--output={report}", *options]
        return savedmodels("evaluate", model, *options)

    return run


def test_the_report_has_the_score_that_training_logged(score, trained_run, exported, tmp_path):
    logged = json.loads((trained_run / "metrics.jsonl").read_text().splitlines()[-1])
    outcome = score()
    assert outcome.status == 0, outcome.err
    scored = json.loads((tmp_path / "report" / "metrics.json").read_text())
    for name in ("mean_iou", "pixel_accuracy"):
        assert scored[name] == pytest.approx(logged[f"val_{name}"], abs=1e-5)
    assert scored["model"] == str(exported)
    assert (scored["dataset"], scored["split"], scored["images"]) == ("scenes", "val", 3)
    assert [*scored["iou"]] == [*SCENES.class_names]
    for name in SCENES.class_names:
        assert name in outcome.out
    assert f"{100 * scored['mean_iou']:.2f}" in outcome.out


def test_the_sheet_shows_images_truth_and_prediction(score, tmp_path):
    """And scores of before are replaced as a whole: who reads them meanwhile sees no half."""
    scores, read_meanwhile = tmp_path / "report" / "metrics.json", tmp_path / "old.json"
    scores.parent.mkdir()
    scores.write_text("old")
    read_meanwhile.hardlink_to(scores)
    score()
    sheet = Image.open(tmp_path / "report" / "contact_sheet.png")
    assert sheet.width > 3 * 64
    assert len(sheet.getcolors(maxcolors=10**6)) > 50
    assert read_meanwhile.read_text() == "old" != scores.read_text()


def test_what_cannot_be_scored_is_named(score, exported, tmp_path):
    assert_one_line(score(model=tmp_path), tmp_path, "no exported model")
    other = shutil.copytree(exported, tmp_path / "other")
    fields = json.loads((other / "classes.json").read_text())
    fields["class_names"][0] = "heaven"
    (other / "classes.json").write_text(json.dumps(fields))
    assert_one_line(score(model=other), "heaven", "sky")
    assert_one_line(score("--split=test"), "train, val", "test")
    assert not (tmp_path / "report").exists()


def test_a_broken_file_is_named_and_no_scores_are_left(score, scenes_root, tmp_path):
    root = shutil.copytree(scenes_root, tmp_path / "broken")
    labels = root / "SegmentationClass" / "scene_000007.png"
    labels.write_bytes(labels.read_bytes()[:-40])
    assert_one_line(score(root=root), labels, "cannot be decoded")
    assert not (tmp_path / "report").exists()
    taken = tmp_path / "taken"
    taken.write_text("mine")
    assert_one_line(score(root=root, report=taken), taken)
    assert taken.read_text() == "mine"


def test_a_model_that_knows_unlabelled_pixels_is_scored_on_them(savedmodels, exported, tmp_path):
    """The dataset's classes and one more are those of `data.unlabelled_as_class`."""
    root = tmp_path / "camvid"
    for folder in ("val", "valannot"):
        (root / folder).mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(root / "val/a.png")
    Image.new("L", (64, 48), 11).save(root / "valannot/a.png")
    (root / "val.txt").write_text("val/a.png valannot/a.png\n")
    model = shutil.copytree(exported, tmp_path / "twelve")
    classes = json.loads((model / "classes.json").read_text())
    classes["class_names"].append("unlabelled")
    classes["colors"].append([0, 0, 0])
    (model / "classes.json").write_text(json.dumps(classes))
    options = ["--data.name=camvid", f"--data.root={root}", f"--output={tmp_path / 'report'}"]
    outcome = savedmodels("evaluate", model, *options)
    assert outcome.status == 0, outcome.err
    scored = json.loads((tmp_path / "report/metrics.json").read_text())
    assert scored["iou"]["unlabelled"] == 0
