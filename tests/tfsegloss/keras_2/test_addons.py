"""TensorFlow Addons: the documented example, and oracles of focal loss and Gaussian windows."""

import runpy

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.tfsegloss.examples import CLASSES, example
from tests.tfsegloss.steps import value_and_gradient
from tfsegloss.core.keras_versions import USES_TF_KERAS, keras
from tfsegloss.kernels import windows

if USES_TF_KERAS:
    reason = "TensorFlow Addons import beside TensorFlow 2.15 alone: `make test-addons`"
    pytest.skip(reason, allow_module_level=True)
import tensorflow_addons as tfa

ROOT_OF_SCENES = """
import sys
from pathlib import Path
from train.data.datasets import scenes
scenes.write(Path(sys.argv[1]), train=8, val=2, height=96, width=128)
"""


@pytest.fixture(scope="module")
def deeplab(request):
    """Return the names of the documented example."""
    return runpy.run_path(str(request.config.rootpath / "docs/examples/deeplab_keras_2.py"))


@pytest.fixture(scope="module")
def scenes_of_keras_3(tmp_path_factory, with_keras_3):
    """Draw a small dataset of scenes: the training kit does it, which needs Keras 3."""
    root = tmp_path_factory.mktemp("data") / "scenes"
    with_keras_3(ROOT_OF_SCENES, root)
    return root


def test_the_example_trains_on_two_replicas(deeplab, scenes_of_keras_3, monkeypatch, two_replicas):
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: two_replicas)
    model, losses = deeplab["train"](scenes_of_keras_3, steps=20)
    assert len(losses) == 20
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    loss, mean_iou = model.evaluate(*deeplab["read_scenes"](scenes_of_keras_3, "val"), verbose=0)
    assert np.isfinite(loss)
    assert 0 <= mean_iou <= 1


def test_labels_of_the_example_are_ids(deeplab, scenes_of_keras_3):
    images, ids = deeplab["read_scenes"](scenes_of_keras_3, "train")
    assert images.shape == (8, *deeplab["SIZE"], 3)
    assert set(np.unique(ids)) <= {*range(deeplab["NUM_CLASSES"]), 255}
    assert len(np.unique(ids)) > 5


def small_groups():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 3))
    backbone = keras.layers.Conv2D(4, 3, padding="same", activation="relu")
    head = keras.layers.Conv2D(CLASSES, 1)
    return keras.Model(inputs, head(backbone(inputs))), [backbone], [head]


def updates(deeplab, multiplier, strategy=None):
    """Return by how much one step moves the backbone's variables, and the head's."""
    ids, images = example((4, 12, 12))
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model, backbone, head = small_groups()
        optimizer, groups = deeplab["two_rates"](0.01, backbone, head, multiplier=multiplier)
        model.compile(optimizer, loss=tfsegloss.RMILoss())
    deeplab["make_slots"](strategy, optimizer, model)
    before = [layer.get_weights() for (layer,) in (backbone, head)]
    model.train_on_batch(images, ids)
    after = [layer.get_weights() for (layer,) in (backbone, head)]
    moved = [
        [new - old for old, new in zip(*weights, strict=True)]
        for weights in zip(before, after, strict=True)
    ]
    return moved, after, before, groups


def test_the_multiplier_reaches_the_head_and_nothing_else(deeplab):
    (backbone, head), *_ = updates(deeplab, multiplier=1)
    (backbone_again, head_faster), *_ = updates(deeplab, multiplier=10)
    for once, again in zip(backbone, backbone_again, strict=True):
        assert (once != 0).any()
        np.testing.assert_array_equal(again, once)
    for slow, fast in zip(head, head_faster, strict=True):
        assert (slow != 0).any()
        np.testing.assert_allclose(fast, 10 * slow, atol=1e-4 * abs(fast).max())


@pytest.mark.usefixtures("without_clusters")
def test_both_groups_take_the_step_of_one_replica_on_two(deeplab, two_replicas):
    one, *_ = updates(deeplab, multiplier=10)
    two, *_ = updates(deeplab, multiplier=10, strategy=two_replicas)
    for ours, theirs in zip([*two[0], *two[1]], [*one[0], *one[1]], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_averages_are_of_the_weights(deeplab):
    """After one step of decay d: d · before + (1 − d) · after."""
    _, after, before, groups = updates(deeplab, multiplier=10)
    deeplab["use_averages"](groups)
    for (_, (layer,)), new, old in zip(groups, after, before, strict=True):
        for variable, b, a in zip(layer.variables, new, old, strict=True):
            np.testing.assert_allclose(variable, 0.9 * a + 0.1 * b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("alpha", [0.25, 0.6])
@pytest.mark.parametrize("gamma", [0.0, 2.0, 3.5])
def test_focal_loss_is_that_of_addons(alpha, gamma):
    """Value and gradient."""
    ids, logits = example(ignored_share=0)
    targets = np.eye(CLASSES, dtype=np.float32)[ids]

    def theirs(y_true, y_pred, _weights):
        return tf.reduce_mean(
            tfa.losses.sigmoid_focal_crossentropy(
                y_true, y_pred, alpha=alpha, gamma=gamma, from_logits=True
            )
        )

    ours = tfsegloss.FocalLoss(alpha=alpha, gamma=gamma, activation="sigmoid")
    value, gradient = value_and_gradient(ours, targets, logits)
    expected, expected_gradient = value_and_gradient(theirs, targets, logits)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5 * abs(gradient).max())


@pytest.mark.parametrize(("size", "sigma"), [(11, 1.5), (5, 0.8)])
def test_the_gaussian_window_is_that_of_addons(size, sigma):
    """Inside, where no border is seen."""
    maps = np.random.default_rng(0).normal(size=(2, 24, 27, CLASSES)).astype(np.float32)
    theirs = tfa.image.gaussian_filter2d(maps, filter_shape=size, sigma=sigma)
    ours = windows.gaussian_mean(tf.constant(maps), size, sigma)
    margin = size // 2
    cut = slice(margin, -margin)
    ours = ours[:, cut, cut] if ours.shape[1:3] == maps.shape[1:3] else ours
    np.testing.assert_allclose(ours, theirs[:, cut, cut], rtol=1e-5, atol=1e-6)
