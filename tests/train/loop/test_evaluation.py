"""The one evaluation, on classifiers whose scores are known."""

import io
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from rich.console import Console

from train.common.errors import UserError
from train.data.datasets.registry import SCENES
from train.data.decoding.palette import IGNORED
from train.data.samples.samples import FileSamples
from train.loop import evaluation
from train.loop.evaluation import Scores, evaluate
from train.reports.scores import scores_table


@pytest.fixture
def samples(tmp_path):
    """Two images of different sizes: 4 sky and 2 road pixels, 3 road and 1 ignored."""
    made = []
    for name, ids in {"a": [[0, 0, 0], [0, 3, 3]], "b": [[3, 3, 3, 255]]}.items():
        ids = np.array(ids, np.uint8)
        paths = [tmp_path / f"{name}.image.png", tmp_path / f"{name}.png"]
        Image.fromarray(np.repeat(ids[..., None], 3, -1)).save(paths[0])
        Image.fromarray(ids).save(paths[1])
        made.append(paths)
    return FileSamples(SCENES.encoding, *zip(*made, strict=True))


def test_the_truth_scores_one_and_absent_classes_none(samples):
    """And the observer sees every sample in order."""
    seen = []
    scores = evaluate(
        lambda images: images[..., 0], samples, SCENES, lambda *sample: seen.append(sample)
    )
    assert scores.scalars() == {"mean_iou": 1, "pixel_accuracy": 1}
    assert scores.images == 2
    assert scores.iou["sky"] == scores.iou["road"] == 1
    assert scores.iou["tree"] is None
    assert json.loads(json.dumps(scores.as_json()))["iou"]["tree"] is None
    assert [sample[0] for sample in seen] == [0, 1]
    assert seen[1][2].tolist() == [[3, 3, 3, IGNORED]]


def test_a_constant_answer_scores_its_share(samples):
    scores = evaluate(lambda images: tf.zeros(tf.shape(images)[:3], tf.uint8), samples, SCENES)
    assert scores.iou["sky"] == pytest.approx(4 / 9)
    assert scores.iou["road"] == 0
    assert scores.scalars()["mean_iou"] == pytest.approx(2 / 9)
    assert scores.scalars()["pixel_accuracy"] == pytest.approx(4 / 9)


def test_a_metric_is_an_entry_in_the_list(monkeypatch):
    monkeypatch.setitem(
        evaluation.METRICS, "sky", evaluation.Metric("sky there", lambda m: m[0, 0])
    )
    scores = Scores(np.diag([4.0] + [0.0] * 10), SCENES.class_names, images=1)
    assert scores.scalars()["sky"] == scores.as_json()["sky"] == 4
    console = Console(file=io.StringIO(), width=100)
    console.print(scores_table(scores, "title"))
    assert re.search(r"sky there .* 400\.00", console.file.getvalue())


def test_a_file_that_breaks_later_is_named(samples):
    path = samples.labels[1]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"b.png: cannot be decoded"):
        evaluate(lambda images: images[..., 0], samples, SCENES)
