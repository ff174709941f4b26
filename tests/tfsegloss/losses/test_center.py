"""Center loss against loops in float64; its centers, wherever they are kept."""

import numpy as np
import pytest
import tensorflow as tf

from tests import keras_versions
from tests.tfsegloss import oracles
from tests.tfsegloss.examples import CLASSES, IGNORED, example, soft_targets
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import step_of, value_and_gradient
from tests.tfsegloss.unequal_replicas import SHARDS, on_replicas, unequal_batch
from tfsegloss import CenterLoss, SoftmaxCrossEntropy
from tfsegloss.core.keras_versions import keras
from tfsegloss.core.targets import encode_targets
from tfsegloss.losses.center import center_distance

CENTERS = np.random.default_rng(3).normal(size=[CLASSES, CLASSES]).astype(np.float32)


def loss_with_centers(**options):
    loss = CenterLoss(**options)
    loss.build(CLASSES)
    loss.variables[0].assign(CENTERS)
    return loss


def test_equals_the_loop():
    ids, logits = example()
    parts = loss_with_centers().parts(ids, logits)
    expected = oracles.mean_over_valid(
        lambda x, y: oracles.center_distance(x, y, CENTERS), ids, logits
    )
    np.testing.assert_allclose(parts["center"], expected, rtol=1e-6)
    np.testing.assert_allclose(parts["cross_entropy"], SoftmaxCrossEntropy()(ids, logits))
    value = loss_with_centers(weight=0.1)(ids, logits)
    np.testing.assert_allclose(value, parts["cross_entropy"] + 0.1 * expected, rtol=1e-6)


@pytest.mark.parametrize("dense", [False, True])
def test_gradient_equals_central_differences(dense):
    ids, logits = example((1, 3, 4), ignored_share=0)
    if dense:
        ids = soft_targets(ids.shape)
    targets = encode_targets(tf.constant(ids), CLASSES, dtype=tf.float64)
    centers = tf.constant(CENTERS, tf.float64)

    def value(logits):
        return tf.reduce_sum(center_distance(targets, logits, centers))

    analytic, numeric = tf.test.compute_gradient(value, [tf.constant(logits, tf.float64)])
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-6)


def test_soft_targets_mix_the_distances():
    _, logits = example((1, 3, 4))
    shares = soft_targets(logits.shape[:3])
    targets = encode_targets(tf.constant(shares), CLASSES, dtype=tf.float64)
    centers = tf.constant(CENTERS, tf.float64)
    actual = center_distance(targets, tf.constant(logits, tf.float64), centers)
    for i in np.ndindex(*actual.shape):
        distances = [oracles.center_distance(logits[i], c, CENTERS) for c in range(CLASSES)]
        np.testing.assert_allclose(actual[i], shares[i] @ distances, rtol=1e-6)


@grid(lambda mode, dense: mode == "eager", mode=["eager", "graph", "xla"], dense=[False, True])
def test_backward_passes_move_the_centers(mode, dense):
    loss, centers = loss_with_centers(alpha=0.3), CENTERS
    step = step_of(loss)
    if mode != "eager":
        step = tf.function(step, jit_compile=mode == "xla")
    for seed in range(3):
        ids, logits = example(seed=seed)
        logits[ids == IGNORED] = np.nan
        step(tf.one_hot(ids, CLASSES) if dense else tf.constant(ids), tf.constant(logits))
        centers = oracles.moved_centers(ids, logits, centers, alpha=0.3)
        np.testing.assert_allclose(loss.variables[0], centers, rtol=1e-5, atol=1e-6)


def test_a_forward_pass_leaves_the_centers_alone():
    ids, logits = example()
    loss = loss_with_centers()
    loss(ids, logits)
    np.testing.assert_array_equal(loss.variables[0], CENTERS)


def test_a_class_without_pixels_keeps_its_center():
    ids, logits = example()
    ids[ids == 1] = IGNORED
    loss = loss_with_centers()
    value_and_gradient(loss, ids, logits)
    changed = (loss.variables[0].numpy() != CENTERS).any(axis=1)
    np.testing.assert_array_equal(changed, [True, False, True])


def test_float64_centers(float64):
    ids, logits = example()
    loss = CenterLoss()
    assert loss(ids, logits.astype(np.float64)).dtype == tf.float64
    assert loss.variables[0].dtype == tf.float64


@pytest.mark.usefixtures("without_clusters")
@grid(
    lambda shards, built: shards == "unequal",
    shards=SHARDS,
    built=["by the first call", "in the scope", "before"],
)
def test_two_replicas_keep_the_centers_of_one(two_replicas, built, shards):
    one, two = CenterLoss(weight=0.1), CenterLoss(weight=0.1)
    if built == "in the scope":
        with two_replicas.scope():
            two.build(CLASSES)
    elif built == "before":
        two.build(CLASSES)  # one variable, that both replicas move
    first, labelled = shards
    step = tf.function(step_of(keras_versions.in_own_loop(two)))
    for seed in range(4):
        ids, logits = unequal_batch(first, labelled, seed)
        _, expected = value_and_gradient(one, ids, logits)
        results = on_replicas(two_replicas, step, first, ids, logits)
        gradient = np.concatenate([gradient for _, gradient in results])
        np.testing.assert_allclose(gradient, expected, atol=1e-5 * abs(expected).max())
        for copy in two_replicas.experimental_local_results(two.variables[0]):
            np.testing.assert_allclose(copy, one.variables[0], rtol=1e-5, atol=1e-6)
    assert (one.variables[0].numpy() != 0).all()


@pytest.mark.usefixtures("without_clusters")
def test_keras_evaluates_without_moving_and_saves_the_centers(tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 3, padding="same")(inputs))
    loss = CenterLoss(weight=1.0)
    model.compile(optimizer="sgd", loss=loss)
    ids, images = example((4, 12, 12))
    model.save(tmp_path / "new.keras")  # before the centers are there
    keras.saving.load_model(tmp_path / "new.keras").evaluate(images, ids, verbose=0)
    model.fit(images, ids, verbose=0)
    centers = loss.variables[0].numpy()
    assert (centers != 0).all()
    value = model.evaluate(images, ids, verbose=0)
    np.testing.assert_array_equal(loss.variables[0], centers)

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.loss.variables[0], centers)
    assert again.evaluate(images, ids, verbose=0) == value
    for m in (model, again):
        m.fit(images, ids, shuffle=False, verbose=0)
    np.testing.assert_array_equal(again.loss.variables[0], loss.variables[0])


@pytest.mark.usefixtures("without_clusters")
@grid(lambda replicas: replicas == 1, replicas=[1, 2])
def test_a_training_run_resumes_with_its_centers(tmp_path, two_replicas, replicas):
    from tests.train.loop.test_trainer import batches, make_trainer, two_convolutions

    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()

    def trainer(folder):
        return make_trainer(strategy, two_convolutions, folder, CenterLoss(weight=1.0))

    def train(trainer, data):
        data = tf.data.Dataset.from_tensor_slices(data)
        for batch in strategy.experimental_distribute_dataset(data):
            trainer.train_step(batch)

    images, ids = (np.stack(arrays) for arrays in zip(*batches(4), strict=True))
    whole = trainer(tmp_path / "whole")
    train(whole, (images, ids))
    stopped = trainer(tmp_path / "stopped")
    train(stopped, (images[:2], ids[:2]))
    stopped.save()
    resumed = trainer(tmp_path / "stopped")
    assert resumed.restore()
    np.testing.assert_array_equal(resumed.loss.variables[0], stopped.loss.variables[0])
    train(resumed, (images[2:], ids[2:]))
    assert (whole.loss.variables[0].numpy() != 0).any()
    for ours, theirs in zip(
        resumed.loss.variables + resumed.model.weights,
        whole.loss.variables + whole.model.weights,
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_another_number_of_classes_is_named():
    with pytest.raises(ValueError, match="must have 3 classes.*Received: 4"):
        loss_with_centers()(np.zeros([1, 2, 2], np.int32), np.zeros([1, 2, 2, 4], np.float32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -0.1}, r"`alpha` must be in \[0, 1\].*-0.1"),
        ({"weight": -1.0}, "`weight` must be finite and ≥ 0.*-1.0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        CenterLoss(**options)


def test_a_batch_that_would_make_the_centers_infinite_leaves_them():
    ids, logits = example()
    loss = loss_with_centers()
    logits[0][ids[0] == 1] = np.inf
    value_and_gradient(loss, ids, logits)
    np.testing.assert_array_equal(loss.variables[0], CENTERS)
