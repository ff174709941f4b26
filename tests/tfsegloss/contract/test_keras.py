"""Every loss in Keras: compile, fit, save, load, and several replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.tfsegloss.losses_under_test import CLASSES, IGNORED, example, step_of, value_and_gradient
from tests.tfsegloss.replicas import SHARDS, on_replicas, unequal_batch
from tfsegloss.kernels import xla


@pytest.mark.usefixtures("without_clusters")
def test_compile_fit_save_load(make_kind, tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 3, padding="same")(inputs))
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=make_kind())
    ids, images = example((4, 12, 12))
    history = model.fit(images, ids, batch_size=2, epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    weights = np.ones(ids.shape, np.float32)
    assert np.isfinite(model.fit(images, ids, sample_weight=weights, verbose=0).history["loss"])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(images, ids, verbose=0) == model.evaluate(images, ids, verbose=0)


def test_compiled_fit_with_the_metric(make_kind):
    """What `fit` does by default on a GPU."""
    inputs = keras.Input((12, 12, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 3, padding="same")(inputs))
    metric = tfsegloss.MeanIoU(num_classes=CLASSES)
    model.compile(optimizer="sgd", loss=make_kind(), metrics=[metric], jit_compile=True)
    ids, images = example((2, 12, 12))
    expected = make_kind()(ids, model(images))
    history = model.fit(images, ids, verbose=0).history  # of one batch, before its step
    np.testing.assert_allclose(history["loss"], [expected], rtol=1e-4)
    assert 0 < history["mean_iou"][0] < 1


@pytest.mark.usefixtures("without_clusters")
@pytest.mark.parametrize("shards", SHARDS)
def test_two_replicas_take_the_step_of_one(make_kind, two_replicas, shards):
    first, labelled = SHARDS[shards]
    ids, logits = unequal_batch(first, labelled)
    _, expected = value_and_gradient(make_kind(), ids, logits)
    step = tf.function(step_of(make_kind()))
    results = on_replicas(two_replicas, step, first, ids, logits)
    gradient = np.concatenate([gradient for _, gradient in results])
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * abs(expected).max())


@pytest.mark.slow
def test_keras_fit_on_two_replicas_equals_one(make_kind, two_replicas, monkeypatch):
    """With clusters on the replicas, which sum their counts outside of them."""
    ids, images = example((4, 12, 12))
    ids[:2, 1:] = IGNORED

    def weights(strategy):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            inputs = keras.Input((12, 12, CLASSES))
            x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
            model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 3, padding="same")(x))
            model.compile(optimizer=keras.optimizers.SGD(0.1), loss=make_kind())
        model.fit(images, ids, batch_size=4, epochs=3, shuffle=False, verbose=0)
        return model.get_weights()

    two = weights(two_replicas)
    monkeypatch.setattr(xla, "is_worth_compiling", lambda arguments: False)
    one = weights(tf.distribute.get_strategy())
    for ours, theirs in zip(two, one, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
