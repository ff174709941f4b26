"""Train, export, evaluate, predict: through the command lines, on scenes on disk."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.commands import TINY_RUN, assert_one_line, command
from train.data.datasets.registry import SCENES
from train.loop.evaluation import evaluate
from train.loop.inference import predict_classes, whole_image_logits
from train.runs.load import load_trained


@pytest.fixture(scope="module")
def job(scenes_root, tmp_path_factory):
    """A run at reduced resolution, trained until it tells classes apart, and exported."""
    folder = tmp_path_factory.mktemp("job")
    with pytest.MonkeyPatch.context() as monkeypatch:
        fit = ["fit", f"--run={folder}/run", f"--data.root={scenes_root}", *TINY_RUN]
        long_enough = ["--trainer.steps=40", "--trainer.evaluate_every=20"]
        reduced = ["--input.resolution=0.75", "--model.batch_norm_momentum=0.7"]
        capture = _NoCapture()
        command(monkeypatch, capture, "train", *fit, *long_enough, *reduced)
        export = ["export", f"{folder}/run", f"--output={folder}/model"]
        command(monkeypatch, capture, "savedmodels", *export)
    return folder


class _NoCapture:
    """`capfd` lives for one test, the job for all of them."""

    def readouterr(self):
        return "", ""


@pytest.fixture
def savedmodels(monkeypatch, capfd):
    return lambda *arguments: command(monkeypatch, capfd, "savedmodels", *arguments)


def test_a_run_folder_holds_everything(job):
    run = job / "run"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40]
    assert {"loss", "learning_rate", "val_mean_iou", "val_pixel_accuracy"} <= set(lines[0])
    assert "region_size: 3" in (run / "config.yaml").read_text()
    assert (run / "checkpoints" / "ckpt-40.index").exists()
    assert list((run / "tensorboard").rglob("events*"))


def test_training_export_and_checkpoint_agree_on_the_score(job, scenes_root, savedmodels, tmp_path):
    logged = json.loads((job / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    outcome = savedmodels(
        "evaluate", job / "model", f"--data.root={scenes_root}", f"--output={tmp_path}/report"
    )
    assert outcome.status == 0
    scored = json.loads((tmp_path / "report" / "metrics.json").read_text())
    config, dataset, model = load_trained(job / "run")
    samples = dataset.samples("val", scenes_root)
    predicted = []
    loaded = evaluate(
        lambda images: predict_classes(whole_image_logits(model, images, config.input.resolution)),
        samples,
        dataset,
        lambda *sample: predicted.append(sample[-1]),
    )
    assert abs(scored["mean_iou"] - logged["val_mean_iou"]) <= 1e-5
    assert abs(loaded.scalars()["mean_iou"] - logged["val_mean_iou"]) <= 1e-5
    # The agreement says something only of a model that answers more than one class.
    assert len(np.unique(predicted)) >= 4
    segmenter = tf.saved_model.load(str(job / "model"))
    for path, expected in zip(samples.images, predicted, strict=True):
        pixels = tf.io.decode_image(tf.io.read_file(str(path)))
        np.testing.assert_array_equal(segmenter.serve(pixels[tf.newaxis])["classes"][0], expected)
    assert (scored["dataset"], scored["split"]) == ("scenes", "val")
    assert scored["images"] == 3
    assert list(scored["iou"]) == list(SCENES.class_names)
    for name in SCENES.class_names:
        assert name in outcome.out
    assert f"{100 * scored['mean_iou']:.2f}" in outcome.out
    sheet = Image.open(tmp_path / "report" / "contact_sheet.png")
    assert sheet.width > 3 * 64
    assert len(sheet.getcolors(maxcolors=10**6)) > 50


def test_the_saved_model_takes_any_size_and_batch(job):
    model = tf.saved_model.load(str(job / "model"))
    for batch in (1, 2):
        for size in [(48, 64), (33, 41), (7, 5)]:
            images = tf.cast(tf.random.uniform([batch, *size, 3], 0, 256, tf.int32), tf.uint8)
            outputs = model.serve(images)
            assert outputs["classes"].shape == (batch, *size)
            assert outputs["classes"].dtype == tf.uint8
            assert outputs["probabilities"].shape == (batch, *size, 11)
            probabilities = outputs["probabilities"].numpy()
            assert ((probabilities >= 0) & (probabilities <= 1)).all()
            np.testing.assert_array_equal(probabilities.argmax(-1), outputs["classes"])
    assert "serving_default" in model.signatures


def test_predictions_are_palette_pictures_and_overlays(job, scenes_root, savedmodels, tmp_path):
    image = scenes_root / "JPEGImages" / "scene_000007.jpg"
    other = Image.new("RGB", (31, 17), "red")
    other.save(tmp_path / "other.png")
    outcome = savedmodels(
        "predict", job / "model", image, tmp_path / "other.png", f"--output={tmp_path}/out"
    )
    assert outcome.status == 0
    model = tf.saved_model.load(str(job / "model"))
    pixels = tf.io.decode_image(tf.io.read_file(str(image)))
    classes = model.serve(pixels[tf.newaxis])["classes"]
    palette = Image.open(tmp_path / "out" / "scene_000007.png")
    assert palette.mode == "P"
    assert tuple(palette.getpalette()[:33]) == sum(SCENES.colors, ())
    np.testing.assert_array_equal(np.asarray(palette), classes[0])
    assert Image.open(tmp_path / "out" / "other.png").size == (31, 17)
    assert Image.open(tmp_path / "out" / "scene_000007_overlay.png").width == 64


def test_export_refuses_what_is_no_run_and_what_exists(job, savedmodels, tmp_path):
    outcome = savedmodels("export", tmp_path, f"--output={tmp_path}/model")
    assert_one_line(outcome, tmp_path, "no run")
    outcome = savedmodels("export", job / "run", f"--output={tmp_path}")
    assert_one_line(outcome, tmp_path, "exists")
    empty = shutil.copytree(job / "run", tmp_path / "run", ignore=lambda *_: ["checkpoints"])
    outcome = savedmodels("export", empty, f"--output={tmp_path}/model")
    assert_one_line(outcome, empty, "no checkpoint")
    assert not (tmp_path / "model").exists()


def test_evaluate_refuses_what_is_no_model_and_other_classes(
    job, scenes_root, savedmodels, tmp_path
):
    report = f"--output={tmp_path}/report"
    outcome = savedmodels("evaluate", tmp_path, f"--data.root={scenes_root}", report)
    assert_one_line(outcome, tmp_path, "no exported model")
    other = shutil.copytree(job / "model", tmp_path / "other")
    fields = json.loads((other / "classes.json").read_text())
    fields["class_names"][0] = "heaven"
    (other / "classes.json").write_text(json.dumps(fields))
    outcome = savedmodels("evaluate", other, f"--data.root={scenes_root}", report)
    assert_one_line(outcome, "heaven", "sky")
    outcome = savedmodels(
        "evaluate", job / "model", f"--data.root={scenes_root}", "--split=test", report
    )
    assert_one_line(outcome, "train, val", "test")
    assert not (tmp_path / "report").exists()


def test_evaluate_names_a_broken_file_and_leaves_no_scores(job, scenes_root, savedmodels, tmp_path):
    root = shutil.copytree(scenes_root, tmp_path / "broken")
    labels = root / "SegmentationClass" / "scene_000007.png"
    labels.write_bytes(labels.read_bytes()[:-40])
    report = tmp_path / "report"
    outcome = savedmodels("evaluate", job / "model", f"--data.root={root}", f"--output={report}")
    assert_one_line(outcome, labels, "cannot be decoded")
    assert not report.exists()
    taken = tmp_path / "taken"
    taken.write_text("mine")
    outcome = savedmodels("evaluate", job / "model", f"--data.root={root}", f"--output={taken}")
    assert_one_line(outcome, taken)
    assert taken.read_text() == "mine"


def test_predict_never_writes_over_an_image(job, savedmodels, tmp_path):
    names = [tmp_path / name for name in ("x.png", "x_overlay.png")]
    for path in names:
        Image.new("RGB", (8, 8), "red").save(path)
    before = [path.read_bytes() for path in names]
    outcome = savedmodels("predict", job / "model", names[0], f"--output={tmp_path}")
    assert_one_line(outcome, names[0])
    outcome = savedmodels("predict", job / "model", *names, f"--output={tmp_path}/out")
    assert_one_line(outcome, "out/x_overlay.png")
    assert [path.read_bytes() for path in names] == before
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_saved_model_needs_none_of_this_code(job, tmp_path):
    script = (
        "import sys, tensorflow as tf\n"
        f"model = tf.saved_model.load({str(job / 'model')!r})\n"
        "outputs = model.serve(tf.zeros([1, 20, 30, 3], tf.uint8))\n"
        "assert outputs['classes'].shape == (1, 20, 30)\n"
        "assert not {'tfsegloss', 'models', 'train', 'savedmodels'} & set(sys.modules)\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-I", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr


def test_predict_refuses_images_it_cannot_read_or_name(job, savedmodels, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "same.png")
    out = f"--output={tmp_path}/out"
    good = tmp_path / "a" / "same.png"
    assert_one_line(savedmodels("predict", job / "model", good, tmp_path / "no.jpg", out), "no.jpg")
    outcome = savedmodels("predict", job / "model", good, tmp_path / "broken.jpg", out)
    assert_one_line(outcome, "broken.jpg", "cannot be decoded")
    outcome = savedmodels("predict", job / "model", good, tmp_path / "b" / "same.png", out)
    assert_one_line(outcome, "same")
    assert not (tmp_path / "out").exists()
