"""What is taken of runs that average their weights, or compute in another precision."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

import models
from savedmodels import archive
from tests.commands import assert_one_line
from tests.train import small_network
from train.data.datasets.registry import SCENES
from train.loop.evaluation import evaluate
from train.runs.initialize import initialize_from
from train.runs.load import load_trained

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def averaged_run(scenes_root, tmp_path_factory):
    """Return the folder of a run that averages its weights."""
    folder = tmp_path_factory.mktemp("averaged") / "run"
    return small_network.fit(folder, scenes_root, "--trainer.ema_momentum=0.9")


@pytest.fixture(scope="module")
def bfloat16_run(scenes_root, tmp_path_factory):
    """Return the folder of a run in mixed precision."""
    folder = tmp_path_factory.mktemp("bfloat16") / "run"
    return small_network.fit(folder, scenes_root, "--trainer.precision=bfloat16")


def last_line(run):
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])


def mean_iou(folder, scenes_root):
    segmenter = archive.SavedSegmenter(folder)
    scores = evaluate(segmenter.classify, SCENES.samples("val", scenes_root), SCENES)
    return scores.scalars()["mean_iou"]


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        ([], "val_ema_mean_iou", "Weights: their averages (trainer.ema_momentum 0.9)"),
        (["--raw"], "val_mean_iou", "Weights: those of the step, not their averages"),
    ],
)
def test_the_averages_are_exported_or_the_weights(
    averaged_run, savedmodels, scenes_root, tmp_path, options, key, said
):
    outcome = savedmodels("export", averaged_run, f"--output={tmp_path}/model", *options)
    assert outcome.status == 0, outcome.err
    assert said in outcome.out
    line = last_line(averaged_run)
    assert line["val_mean_iou"] != line["val_ema_mean_iou"]
    assert abs(mean_iou(tmp_path / "model", scenes_root) - line[key]) <= 1e-5
    assert archive.SavedSegmenter(tmp_path / "model").classes.averaged == (not options)


def test_another_run_begins_with_the_averages(averaged_run, capsys):
    config, dataset, averaged = load_trained(averaged_run)
    _, _, raw = load_trained(averaged_run, raw=True)
    model = models.build("deeplab_v3_plus", num_classes=dataset.num_outputs)
    initialize_from(model, replace(config, init_from=averaged_run), dataset)
    assert f"of the averages of {averaged_run} at step" in capsys.readouterr().out
    for ours, theirs, of_step in zip(model.weights, averaged.weights, raw.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert (ours.numpy() != of_step.numpy()).any()


def test_raw_weights_are_those_of_a_run_that_averages(trained_run, savedmodels, tmp_path):
    outcome = savedmodels("export", trained_run, f"--output={tmp_path}/model", "--raw")
    assert_one_line(outcome, "--raw is for a run whose weights are averaged", trained_run)


@pytest.mark.full
def test_a_network_of_mixed_precision_is_exported_in_float32(
    bfloat16_run, savedmodels, scenes_root, tmp_path
):
    outcome = savedmodels("export", bfloat16_run, f"--output={tmp_path}/model")
    assert outcome.status == 0, outcome.err
    images = np.zeros([1, 20, 30, 3], np.uint8)
    assert archive.SavedSegmenter(tmp_path / "model").serve(images)["probabilities"].dtype == (
        tf.float32
    )
    _, _, model = load_trained(bfloat16_run)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    logged = last_line(bfloat16_run)["val_mean_iou"]
    assert mean_iou(tmp_path / "model", scenes_root) == pytest.approx(logged, abs=0.01)
