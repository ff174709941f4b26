"""A SavedModel on disk: what it takes, what it gives, and that TensorFlow alone can load it."""

import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from savedmodels import archive
from train.common.errors import UserError

CLASSES = archive.Classes("pets", ("cat", "dog"), ((1, 2, 3), (4, 5, 6)), "softmax")


@pytest.mark.parametrize("size", [(48, 64), (33, 41), (7, 5)])
def test_any_size_and_batch(exported, size):
    model = tf.saved_model.load(str(exported))
    assert "serving_default" in model.signatures
    images = tf.cast(tf.random.uniform([2, *size, 3], 0, 256, tf.int32), tf.uint8)
    outputs = model.serve(images)
    assert outputs["classes"].shape == (2, *size)
    assert outputs["classes"].dtype == tf.uint8
    probabilities = outputs["probabilities"].numpy()
    assert probabilities.shape == (2, *size, 11)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(-1), outputs["classes"])
    alone = model.serve(images[1:])
    np.testing.assert_allclose(alone["probabilities"][0], probabilities[1], atol=1e-5)


def test_of_a_sigmoid_each_class_has_a_probability_of_its_own(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    classes = archive.Classes(CLASSES.dataset, CLASSES.class_names, CLASSES.colors, "sigmoid")
    archive.write(model, 1.0, classes, tmp_path / "model")
    images = tf.constant(np.random.default_rng(0).integers(0, 2, [1, 4, 6, 3]), tf.uint8)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    outputs = loaded.serve(images)
    expected = tf.sigmoid(model(tf.cast(images, tf.float32)))
    np.testing.assert_allclose(outputs["probabilities"], expected, rtol=1e-5)
    assert archive.SavedSegmenter(tmp_path / "model").classes == classes


@pytest.mark.parametrize("kind", [np.asarray, tf.constant])
def test_images_that_are_no_bytes_are_refused(kind, tmp_path):
    """They would be cast: of values in [0, 1] all but 1 would become 0."""
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    archive.write(model, 1.0, CLASSES, tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    images = np.random.default_rng(0).integers(0, 256, [1, 4, 6, 3]).astype(np.uint8)
    with pytest.raises(ValueError, match=r"(?s)Could not find matching .*float.*tf.uint8"):
        loaded.serve(kind(images / 255))
    expected = tf.nn.softmax(model(images.astype(np.float32)))
    for outputs in (loaded.serve(kind(images)), loaded.serve(images=kind(images))):
        np.testing.assert_allclose(outputs["probabilities"], expected, rtol=1e-5)


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(archive, "asdict", interrupted)  # when the SavedModel is written
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    with pytest.raises(KeyboardInterrupt):
        archive.write(model, 1.0, CLASSES, tmp_path / "model")
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_is_no_exported_model(exported, tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path} is no exported model: saved_model.pb and"):
        archive.SavedSegmenter(tmp_path)


@pytest.mark.slow
def test_it_needs_none_of_this_code(exported, tmp_path):
    script = (
        "import sys, tensorflow as tf\n"
        f"model = tf.saved_model.load({str(exported)!r})\n"
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


def test_a_folder_that_tensorflow_takes_for_a_pattern_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    with pytest.raises(UserError, match="output: .*expected a name without"):
        archive.write(model, 1.0, CLASSES, tmp_path / "a[1]")


@pytest.mark.parametrize(
    "part",
    [
        "classes.json",
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
    ],
)
@pytest.mark.parametrize("damage", ["cut", "empty", "remove"])
def test_a_damaged_model_is_named(exported, tmp_path, part, damage):
    folder = shutil.copytree(exported, tmp_path / "model")
    path = folder / part
    contents = path.read_bytes()
    path.unlink()
    if damage != "remove":
        path.write_bytes(contents[: len(contents) // 2 if damage == "cut" else 0])
    with pytest.raises(UserError, match=f"{folder} is (damaged .*: export it again|no exported)"):
        archive.SavedSegmenter(folder)
