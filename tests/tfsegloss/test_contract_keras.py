"""Every loss in Keras: compile, fit, save, load, and several replicas."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsegloss

from .losses import CLASSES, LOSSES, VARIANTS, example, value_and_gradient

IGNORED = 255


@pytest.fixture(params=sorted(set(LOSSES) - VARIANTS))
def make(request):
    return LOSSES[request.param]


def test_config_round_trip_keeps_values(make):
    loss = make(ignore_class=[7, 255], from_logits=False, reduction="sum", name="mine")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert again.get_config()["ignore_class"] == [7, 255]
    ids, logits = example()
    probabilities = tf.sigmoid(logits)
    np.testing.assert_array_equal(again(ids, probabilities), loss(ids, probabilities))


def test_compile_fit_save_load(make, tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 3, padding="same")(inputs))
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=make())
    ids, images = example((4, 12, 12))
    history = model.fit(images, ids, batch_size=2, epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    weights = np.ones(ids.shape, np.float32)
    assert np.isfinite(model.fit(images, ids, sample_weight=weights, verbose=0).history["loss"])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(images, ids, verbose=0) == model.evaluate(images, ids, verbose=0)


def test_compiled_fit_with_the_metric(make):
    """What `fit` does by default on a GPU."""
    inputs = keras.Input((12, 12, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 3, padding="same")(inputs))
    metric = tfsegloss.MeanIoU(classes=CLASSES)
    model.compile(optimizer="sgd", loss=make(), metrics=[metric], jit_compile=True)
    ids, images = example((2, 12, 12))
    model.fit(images, ids, verbose=0)
    scores = model.evaluate(images, ids, verbose=0, return_dict=True)
    np.testing.assert_allclose(scores["loss"], make()(ids, model(images)), rtol=1e-4)
    assert 0 < scores["mean_iou"] < 1


@pytest.mark.parametrize("shards", [(2, 2), (3, 1)], ids=["equal", "unequal last shard"])
def test_two_replicas_take_the_step_of_one(make, two_replicas, shards):
    ids, logits = example((4, 13, 11))
    ids[: shards[0]][ids[: shards[0]] != 0] = IGNORED  # one shard has far fewer valid pixels
    _, expected = value_and_gradient(make(), ids, logits)
    loss = make()
    cut = [slice(0, shards[0]), slice(shards[0], None)]

    def of_replica(array):
        return two_replicas.experimental_distribute_values_from_function(
            lambda context: tf.constant(array[cut[context.replica_id_in_sync_group]])
        )

    @tf.function
    def step(ids, logits):
        def replica_step(ids, logits):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                value = loss(ids, logits)
            return tape.gradient(value, logits)

        return two_replicas.run(replica_step, args=(ids, logits))

    gradients = two_replicas.experimental_local_results(step(of_replica(ids), of_replica(logits)))
    np.testing.assert_allclose(np.concatenate(gradients), expected, atol=1e-7)


def test_keras_fit_on_two_replicas_equals_one(make, two_replicas):
    ids, images = example((4, 12, 12))
    ids[:2, 1:] = IGNORED

    def weights(strategy):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            inputs = keras.Input((12, 12, CLASSES))
            x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
            model = keras.Model(inputs, keras.layers.Conv2D(CLASSES, 3, padding="same")(x))
            model.compile(optimizer=keras.optimizers.SGD(0.1), loss=make())
        model.fit(images, ids, batch_size=4, epochs=3, shuffle=False, verbose=0)
        return model.get_weights()

    one, two = weights(tf.distribute.get_strategy()), weights(two_replicas)
    for ours, theirs in zip(two, one, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
