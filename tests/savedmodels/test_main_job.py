"""Training, the exported model and the checkpoint agree, to the pixel."""

import json

import numpy as np
import pytest
import tensorflow as tf

from savedmodels import archive
from tests.commands import TINY_RUN, command
from train.data.datasets.registry import SCENES
from train.loop.evaluation import evaluate
from train.loop.inference import predict_classes, whole_image_logits
from train.runs.load import load_trained


def assert_one_answer(run, exported):
    """Require the answers of the checkpoint, which training scored, to be the SavedModel's."""
    logged = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    config, dataset, model = load_trained(run)
    samples = dataset.samples("val", config.data.root)
    predicted = []
    scores = evaluate(
        lambda images: predict_classes(whole_image_logits(model, images, config.input.resolution)),
        samples,
        dataset,
        lambda *sample: predicted.append(sample[-1]),
    )
    assert abs(scores.scalars()["mean_iou"] - logged["val_mean_iou"]) <= 1e-5
    # The agreement says something only of a model that answers more than one class.
    assert len(np.unique(predicted)) >= 4
    segmenter = archive.SavedSegmenter(exported)
    for path, expected in zip(samples.images, predicted, strict=True):
        pixels = tf.io.decode_image(tf.io.read_file(str(path)))
        np.testing.assert_array_equal(segmenter.classify(pixels[tf.newaxis])[0], expected)


@pytest.mark.usefixtures("small_networks")
def test_a_small_network(trained_run, exported):
    assert_one_answer(trained_run, exported)


@pytest.mark.slow
def test_the_main_job(scenes_root, tmp_path, monkeypatch, capfd):
    """DeepLab and RMI from the command lines: train, export, evaluate, predict."""
    run, model, report = (tmp_path / name for name in ("run", "model", "report"))
    data = f"--data.root={scenes_root}"
    long_enough = ["--trainer.steps=40", "--trainer.evaluate_every=20"]
    reduced = ["--input.resolution=0.75", "--model.batch_norm_momentum=0.7"]
    image = SCENES.samples("val", scenes_root).images[0]
    for arguments in (
        ["train", "fit", f"--run={run}", data, *TINY_RUN, *long_enough, *reduced],
        ["savedmodels", "export", run, f"--output={model}"],
        ["savedmodels", "evaluate", model, data, f"--output={report}"],
        ["savedmodels", "predict", model, image, f"--output={tmp_path}/out"],
    ):
        outcome = command(monkeypatch, capfd, *arguments)
        assert outcome.status == 0, outcome.err
    assert_one_answer(run, model)
    assert json.loads((report / "metrics.json").read_text())["images"] == 3
    assert (tmp_path / "out" / f"{image.stem}.png").is_file()
