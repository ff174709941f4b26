"""Every loss in Keras: compile, fit, save, load, and several replicas."""

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests import keras_versions
from tests.tfsegloss.examples import CLASSES, IGNORED, example
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import step_of, value_and_gradient
from tests.tfsegloss.unequal_replicas import SHARDS, on_replicas, unequal_batch
from tests.tfsegloss.variants import FEW, FIRST, QUICK
from tfsegloss.core.keras_versions import keras
from tfsegloss.kernels import xla


def convolution(*size):
    inputs = keras.Input((*size, 3))
    return keras.Model(inputs, keras.layers.Conv2D(CLASSES, 3, padding="same")(inputs))


@pytest.mark.usefixtures("without_clusters")
@grid(lambda make: make in (*FEW, "CenterLoss", "LADLoss"), make=FIRST)
def test_compile_fit_save_load(make, tmp_path):
    model = convolution(None, None)
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=make())
    ids, images = example((4, 12, 12))
    history = model.fit(images, ids, batch_size=2, epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    value, expected = (m.test_on_batch(images, ids) for m in (again, model))
    assert value == expected


@pytest.mark.usefixtures("without_clusters")
def test_keras_hands_over_the_weights_of_pixels(make_few):
    ids, images = example((2, 12, 12))
    weights = np.random.default_rng(0).random(ids.shape).astype(np.float32)
    model = convolution(12, 12)
    model.compile(optimizer="sgd", loss=make_few())
    expected = make_few()(ids, model(images), weights)
    value = model.train_on_batch(images, ids, sample_weight=weights)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


# Those whose clusters and whose variables XLA meets in the step of a model.
@grid(lambda make: make in ("SoftmaxCrossEntropy", "CenterLoss"), make=FIRST)
def test_compiled_fit_with_the_metric(make):
    """What `fit` does by default on a GPU."""
    model = convolution(12, 12)
    metric = tfsegloss.MeanIoU(num_classes=CLASSES)
    model.compile(optimizer="sgd", loss=make(), metrics=[metric], jit_compile=True)
    ids, images = example((2, 12, 12))
    expected = make()(ids, model(images))
    history = model.fit(images, ids, verbose=0).history  # of one batch, before its step
    np.testing.assert_allclose(history["loss"], [expected], rtol=1e-4)
    assert 0 < history["mean_iou"][0] < 1


# Only replicas of unequal counts tell a count of their own from that of all.
@pytest.mark.usefixtures("without_clusters")
@grid(lambda make, shards: shards == "unequal" and make in QUICK, make=FIRST, shards=SHARDS)
def test_two_replicas_take_the_step_of_one(make, shards, two_replicas):
    first, labelled = shards
    ids, logits = unequal_batch(first, labelled)
    _, expected = value_and_gradient(make(), ids, logits)
    results = on_replicas(
        two_replicas, tf.function(step_of(keras_versions.in_own_loop(make()))), first, ids, logits
    )
    gradient = np.concatenate([gradient for _, gradient in results])
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * abs(expected).max())


# One counts images, one sums its weights, one sums in the backward pass.
@pytest.mark.usefixtures("without_clusters")
@grid(lambda make: make in ("RMILoss", "DiceLoss", "CenterLoss"), make=FIRST)
def test_a_replica_without_images_counts_nothing(make, two_replicas):
    """And sums all that the other one does, which would wait for it."""
    ids, logits = example((3, 13, 11))
    weights = np.random.default_rng(0).random(ids.shape).astype(np.float32)
    expected_value, expected = value_and_gradient(make(), ids, logits, weights)
    step = tf.function(step_of(keras_versions.in_own_loop(make())))
    results = on_replicas(two_replicas, step, 3, ids, logits, weights)
    (value, gradient), (_, nothing) = results
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * abs(expected).max())
    assert nothing.shape == (0, *logits.shape[1:])


@pytest.mark.usefixtures("without_clusters")
@pytest.mark.parametrize("axes", [0, 2])
def test_a_mean_with_weights_of_images_is_refused_on_two_replicas(axes, two_replicas):
    """Keras divides by each replica's own: of means 1 and 5, weights 1 and 3, it makes 3 for 4."""
    ids, logits = example((2, 5, 4))
    weights = np.array([1, 3], np.float32)
    step = step_of(tfsegloss.SoftmaxCrossEntropy(reduction="mean_with_sample_weight"))
    if axes:
        weights = np.broadcast_to(weights[:, None, None], ids.shape)
        _, expected = step(ids, tf.constant(logits), weights)
        results = on_replicas(two_replicas, step, 1, ids, logits, weights)
        gradient = np.concatenate([gradient for _, gradient in results])
        np.testing.assert_allclose(gradient, expected, atol=1e-6)
        return
    with pytest.raises(ValueError, match="weights of pixels, on several.*Received: 2 replicas"):
        on_replicas(two_replicas, step, 1, ids, logits, weights)


@pytest.mark.slow
def test_keras_fit_on_two_replicas_equals_one(make_first, two_replicas, monkeypatch):
    """With clusters on the replicas, which sum their counts outside of them."""
    ids, images = example((4, 12, 12))
    ids[:2, 1:] = IGNORED

    def weights(strategy):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            inputs = keras.Input((12, 12, CLASSES))
            x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
            model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 3, padding="same")(x))
            model.compile(optimizer=keras.optimizers.SGD(0.1), loss=make_first())
        model.fit(images, ids, batch_size=4, epochs=3, shuffle=False, verbose=0)
        return model.get_weights()

    two = weights(two_replicas)
    monkeypatch.setattr(xla, "is_worth_compiling", lambda arguments: False)
    one = weights(tf.distribute.get_strategy())
    for ours, theirs in zip(two, one, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
