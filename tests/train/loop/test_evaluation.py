"""The one evaluation, on classifiers whose scores are known."""

import io
import json
import re

import keras
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
from train.loop.distribution import ONE_DEVICE, Devices
from train.loop.evaluation import Scores, evaluate
from train.loop.inference import classifier
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


def score(samples, pixels, devices):
    """Return the matrix, what is observed, and of each batch its device and how many images."""
    seen, batches = [], []

    def brightness(images):
        ids = tf.cast(tf.reduce_sum(images, axis=-1) % 11, tf.uint8)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        assert ids.device.endswith(f"CPU:{replica}")
        batches.append((replica, len(images)))
        return ids

    scores = evaluate(
        brightness,
        samples,
        SCENES,
        lambda number, *arrays: seen.append((number, *map(np.ndarray.tolist, arrays))),
        batch_pixels=pixels,
        devices=devices,
    )
    return scores.matrix, seen, sorted(batches)


@pytest.mark.parametrize(
    ("images", "on_each", "batches"),
    [
        (6, 0, [(0, 1)] * 3 + [(1, 1)] * 3),
        (6, 1, [(0, 1)] * 3 + [(1, 1)] * 3),
        (6, 2, [(0, 1), (0, 2), (1, 1), (1, 2)]),
        (6, 100, [(0, 3), (1, 3)]),
        (5, 2, [(0, 1), (0, 2), (1, 2)]),
        (3, 100, [(0, 1), (1, 2)]),
        (1, 100, [(0, 1)]),
    ],
)
def test_devices_share_images(train_samples, two_replicas, images, on_each, batches):
    """Of one size: each at most as many as have its pixels, and none waits while two are left."""
    few = train_samples.subset(range(images))
    matrix, seen, _ = score(few, 0, ONE_DEVICE)
    of_both, seen_of_both, found = score(few, on_each * 48 * 64, Devices(two_replicas))
    assert found == batches
    np.testing.assert_array_equal(of_both, matrix)
    assert seen_of_both == seen


def test_devices_share_images_of_different_sizes(samples, two_replicas):
    matrix, seen, _ = score(samples, 0, ONE_DEVICE)
    of_both, seen_of_both, batches = score(samples, 100, Devices(two_replicas))
    assert batches == [(0, 1), (1, 1)]
    np.testing.assert_array_equal(of_both, matrix)
    assert seen_of_both == seen


def test_two_devices_predict_what_one_does(train_samples, two_replicas):
    """By a compiled network, whose variables each device has for itself."""
    with two_replicas.scope():
        model = keras.Sequential(
            [keras.Input((None, None, 3)), keras.layers.Conv2D(11, 3, padding="same")]
        )
    classify = classifier(model, 1.0)
    expected = evaluate(classify, train_samples, SCENES).matrix
    for pixels in (2 * 48 * 64, 10**9):
        options = {"batch_pixels": pixels, "devices": Devices(two_replicas)}
        found = evaluate(classify, train_samples, SCENES, **options).matrix
        np.testing.assert_array_equal(found, expected)
