"""Masks of a foreground: from a folder of own data to a prediction, by the commands alone."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from savedmodels import archive
from tests.commands import TINY_RUN, UNCAPTURED, assert_one_line, command
from tests.train import small_network

ONE_CLASS = "{classes: [leaf], ids: {0: background, 255: leaf}}"
TWO_CLASSES = "{classes: [background, leaf], ids: {0: background, 255: leaf}}"


def write_masks(root, classes, foreground=255):
    """Write green leaves on brown, with masks of 0 and `foreground`."""
    generator = np.random.default_rng(0)
    for folder in ("images/train", "images/val", "labels/train", "labels/val"):
        (root / folder).mkdir(parents=True)
    for i in range(6):
        leaf = np.zeros([48, 64], bool)
        top, left = generator.integers(4, 20, 2)
        leaf[top : top + 20, left : left + 30] = True
        image = np.where(leaf[..., np.newaxis], (40, 160, 50), (120, 80, 40)).astype(np.uint8)
        name = f"{'train' if i < 4 else 'val'}/{i}.png"
        Image.fromarray(image).save(root / "images" / name)
        Image.fromarray((foreground * leaf).astype(np.uint8)).save(root / "labels" / name)
    (root / "classes.yaml").write_text(classes)
    return root


def options(root, run):
    data = ["--data.name=folder", f"--data.root={root}"]
    steps = ["--trainer.steps=24", "--trainer.evaluate_every=24", "--trainer.checkpoint_every=24"]
    return [f"--run={run}", *data, *TINY_RUN, *steps]


@pytest.fixture(
    scope="module",
    params=[
        "SigmoidCrossEntropy",
        pytest.param("RMILoss", marks=pytest.mark.full),
        pytest.param("SoftmaxCrossEntropy", marks=pytest.mark.full),
    ],
)
def trained(request, tmp_path_factory):
    """Return own data of masks of 0 and 255, and a run on them, of one output if the loss can."""
    folder = tmp_path_factory.mktemp("binary")
    classes = TWO_CLASSES if request.param == "SoftmaxCrossEntropy" else ONE_CLASS
    root, run = write_masks(folder / "leaves", classes), folder / "run"
    with small_network.small_networks() as monkeypatch:
        arguments = [*options(root, run), f"--loss={request.param}"]
        assert command(monkeypatch, UNCAPTURED, "train", "fit", *arguments).status == 0
    return root, run


@pytest.mark.usefixtures("small_networks")
def test_masks_of_0_and_255(trained, tmp_path, monkeypatch, capfd):
    root, run = trained
    model, report, out = (tmp_path / name for name in ("model", "report", "out"))
    image = root / "images/val/4.png"
    data = ["--data.name=folder", f"--data.root={root}"]
    for arguments in (
        ["train", "check", *data, f"--output={tmp_path}/s.png"],
        ["savedmodels", "export", run, f"--output={model}"],
        ["savedmodels", "evaluate", model, f"--output={report}"],
        ["savedmodels", "predict", model, image, f"--output={out}"],
    ):
        outcome = command(monkeypatch, capfd, *arguments)
        assert outcome.status == 0, outcome.out + outcome.err
    metrics = json.loads((report / "metrics.json").read_text())
    assert set(metrics["iou"]) == {"background", "leaf"}
    assert metrics["iou"]["leaf"] > 0.8
    predicted = np.asarray(Image.open(out / "4.png"))
    truth = np.asarray(Image.open(root / "labels/val/4.png")) == 255
    assert (predicted == truth).mean() > 0.9
    outputs = archive.SavedSegmenter(model).serve(tf.constant(np.asarray(Image.open(image)))[None])
    one = (root / "classes.yaml").read_text() == ONE_CLASS
    assert outputs["probabilities"].shape[-1] == (1 if one else 2)


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize("trained", ["SigmoidCrossEntropy"], indirect=True)
def test_a_threshold_of_one_class(trained, tmp_path, monkeypatch, capfd):
    root, run = trained
    images = tf.constant(np.asarray(Image.open(root / "images/val/4.png")))[None]
    for threshold in (0.2, 0.9):
        model = tmp_path / f"model{threshold}"
        export = ["savedmodels", "export", run, f"--output={model}", f"--threshold={threshold}"]
        assert command(monkeypatch, capfd, *export).status == 0
        assert json.loads((model / "classes.json").read_text())["threshold"] == threshold
        outputs = archive.SavedSegmenter(model).serve(images)
        above = outputs["probabilities"][..., 0] > threshold
        np.testing.assert_array_equal(outputs["classes"], tf.cast(above, tf.uint8))


@pytest.mark.usefixtures("small_networks", "without_clusters")
@pytest.mark.parametrize(
    "names", ["[leaf]", pytest.param("[background, leaf]", marks=pytest.mark.full)]
)
def test_255_that_means_nothing_is_refused(tmp_path, monkeypatch, capfd, names):
    """255 is ignored: background would be learnt, and scored 1."""
    root = write_masks(tmp_path / "leaves", f"classes: {names}")
    run = tmp_path / "run"
    arguments = [*options(root, run), "--loss=SigmoidCrossEntropy"]
    outcome = command(monkeypatch, capfd, "train", "fit", *arguments)
    why = "% of the pixels are ignored, as the id 255 is"
    remedy = "ids: {0: background, 255: leaf}"
    assert_one_line(outcome, "no pixel of train has the class 1, leaf", why, remedy)
    assert not run.exists()
    check = ["check", "--data.name=folder", f"--data.root={root}", f"--output={tmp_path}/s.png"]
    outcome = command(monkeypatch, capfd, "train", *check)
    assert outcome.status == 1
    assert remedy in outcome.out
    allowed = ["--data.allow_absent_classes=true", "--trainer.steps=2"]
    assert command(monkeypatch, capfd, "train", "fit", *arguments, *allowed).status == 0


def test_a_softmax_of_one_class_is_refused(tmp_path, monkeypatch, capfd):
    root = write_masks(tmp_path / "leaves", ONE_CLASS)
    arguments = [*options(root, tmp_path / "run"), "--loss=SoftmaxCrossEntropy"]
    outcome = command(monkeypatch, capfd, "train", "fit", *arguments)
    assert_one_line(outcome, "loss: SoftmaxCrossEntropy needs at least 2 classes")


@pytest.mark.full
@pytest.mark.usefixtures("small_networks")
def test_masks_of_0_and_1(tmp_path, monkeypatch, capfd):
    root = write_masks(tmp_path / "leaves", "classes: [leaf]", foreground=1)
    run = tmp_path / "run"
    arguments = [*options(root, run), "--loss=SigmoidCrossEntropy"]
    assert command(monkeypatch, capfd, "train", "fit", *arguments).status == 0
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["val_mean_iou"] > 0.8
    sheet = ["check", "--data.name=folder", f"--data.root={root}", f"--output={tmp_path}/sheet.png"]
    assert command(monkeypatch, capfd, "train", *sheet).status == 0
    # Of the losses, those that take one class.
    picture = ["explain", run, "--index=0", f"--output={tmp_path}/explained.png"]
    assert command(monkeypatch, capfd, "train", *picture).status == 0


@pytest.mark.usefixtures("small_networks")
def test_a_threshold_is_for_one_class(trained_run, tmp_path, monkeypatch, capfd):
    arguments = [trained_run, f"--output={tmp_path}/model", "--threshold=0.3"]
    outcome = command(monkeypatch, capfd, "savedmodels", "export", *arguments)
    assert_one_line(outcome, "--threshold is for one class")
