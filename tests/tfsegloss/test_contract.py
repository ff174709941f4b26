"""What holds for every loss, whatever its formula."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsegloss

from .losses import CLASSES, LOSSES, example, value_and_gradient

IGNORED = 255


@pytest.fixture(params=LOSSES)
def make(request):
    return LOSSES[request.param]


def hostile():
    """(name, ids, logits) of inputs that break careless losses."""
    ids, logits = example()
    truth = np.where(ids == IGNORED, 0, ids)
    yield "huge", ids, np.sign(logits) * 1e4
    yield "all ignored", np.full_like(ids, IGNORED), logits
    yield "one image ignored", np.stack([np.full_like(ids[0], IGNORED), ids[1]]), logits
    yield "one class", np.ones_like(ids), logits
    yield "blank", ids, np.zeros_like(logits)
    yield "equal to the truth", ids, (np.eye(CLASSES, dtype=np.float32)[truth] - 0.5) * 2e4
    for shape in [(1, 1, 1), (1, 2, 3), (1, 7, 5), (1, 33, 41)]:
        yield f"size {shape}", *example(shape)


@pytest.mark.parametrize("case", hostile(), ids=lambda case: case[0])
def test_hostile_input_gives_finite_value_and_gradient(make, case):
    _, ids, logits = case
    value, gradient = value_and_gradient(make(), ids, logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_one_float32_number_per_image(make):
    ids, logits = example()
    values = make(reduction="none")(ids, logits)
    assert values.shape == (2,)
    assert values.dtype == tf.float32
    np.testing.assert_allclose(make()(ids, logits), tf.reduce_mean(values), rtol=1e-6)


@pytest.mark.parametrize("junk", [7.0, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("from_logits", [True, False])
def test_ignored_pixels_change_neither_value_nor_gradient(make, junk, from_logits):
    ids, logits = example()
    logits = logits if from_logits else tf.sigmoid(logits).numpy()
    loss = make(from_logits=from_logits)
    value, gradient = value_and_gradient(loss, ids, logits)
    changed = np.where((ids == IGNORED)[..., None], np.float32(junk), logits)
    value_changed, gradient_changed = value_and_gradient(loss, ids, changed)
    assert value == value_changed
    np.testing.assert_array_equal(gradient, gradient_changed)
    assert (gradient[ids == IGNORED] == 0).all()
    assert (gradient[ids != IGNORED] != 0).any()


@pytest.mark.parametrize("ignored", [-1, [-1, 200], 2])
def test_any_ids_can_be_the_ignored_ones(make, ignored):
    ids, logits = example()
    ids[ids == 2] = IGNORED
    marks = np.resize(ignored, ids.shape)
    other = np.where(ids == IGNORED, marks, ids)
    expected = value_and_gradient(make(), ids, logits)
    actual = value_and_gradient(make(ignore_class=ignored), other, logits)
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1], expected[1])


def test_without_ignored_class_every_pixel_counts(make):
    ids, logits = example(ignored_share=0)
    assert make(ignore_class=None)(ids, logits) == make()(ids, logits)


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
def test_graph_and_xla_equal_eager(make, compiled):
    ids, logits = example()
    loss = make()

    def step(ids, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(ids, logits)
        return value, tape.gradient(value, logits)

    value, gradient = tf.function(step, jit_compile=compiled)(ids, tf.constant(logits))
    expected_value, expected_gradient = value_and_gradient(loss, ids, logits)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)


def test_dynamic_shapes(make):
    loss = make()
    signature = [
        tf.TensorSpec([None, None, None], tf.uint8),
        tf.TensorSpec([None, None, None, CLASSES], tf.float32),
    ]
    step = tf.function(lambda ids, logits: loss(ids, logits), input_signature=signature)
    for shape in [(2, 13, 11), (1, 1, 1), (3, 9, 20)]:
        ids, logits = example(shape)
        np.testing.assert_allclose(step(ids.astype(np.uint8), logits), loss(ids, logits), rtol=1e-5)


def test_probabilities_equal_logits(make):
    ids, logits = example()
    loss = make(from_logits=False)
    activation = tf.nn.softmax if loss.activation == "softmax" else tf.sigmoid
    value = loss(ids, activation(logits))
    np.testing.assert_allclose(value, make()(ids, logits), rtol=1e-4)


def test_probabilities_of_zero_and_one_are_clipped(make):
    ids, _ = example()
    wrong = np.eye(CLASSES, dtype=np.float32)[(np.where(ids == IGNORED, 0, ids) + 1) % CLASSES]
    value, gradient = value_and_gradient(make(from_logits=False), ids, wrong)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_better_prediction_lower_loss(make):
    ids, _ = example((1, 24, 24))
    truth = np.eye(CLASSES, dtype=np.float32)[np.where(ids == IGNORED, 0, ids)]
    values = [float(make()(ids, (truth * 2 - 1) * scale)) for scale in (-3, 0, 3)]
    assert values[0] > values[1] > values[2]


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_low_precision_logits_are_computed_in_float32(make, dtype):
    ids, logits = example()
    logits = tf.cast(logits, dtype)
    value, gradient = value_and_gradient(make(), ids, logits)
    expected, expected_gradient = value_and_gradient(make(), ids, tf.cast(logits, tf.float32))
    assert value == expected
    assert gradient.dtype == dtype.as_numpy_dtype
    np.testing.assert_allclose(
        gradient.astype(np.float32), expected_gradient, atol=0.01 * abs(expected_gradient).max()
    )


def test_float64_stays_float64(make, float64):
    ids, logits = example()
    assert make()(ids, logits.astype(np.float64)).dtype == tf.float64


def test_ids_with_a_last_axis_and_ids_as_floats(make):
    ids, logits = example()
    expected = make()(ids, logits)
    assert make()(ids[..., None], logits) == expected
    assert make()(ids.astype(np.float32), logits) == expected
    assert make()(ids.astype(np.uint8), logits) == expected


def test_one_hot_equals_ids(make):
    ids, logits = example()
    dense = tf.one_hot(ids, CLASSES).numpy()  # ignored ids become 0, 0, 0
    if make().activation == "sigmoid":  # where no class is an answer, not the lack of one
        dense[ids == IGNORED] = IGNORED
    np.testing.assert_allclose(make()(dense, logits), make()(ids, logits), rtol=1e-5)


def test_weights_of_pixels_equal_to_one_change_nothing(make):
    ids, logits = example()
    weights = np.ones(ids.shape, np.float32)
    assert make()(ids, logits, weights) == make()(ids, logits)
    assert make()(ids, logits, weights[..., None]) == make()(ids, logits)


def test_weights_of_images_are_keras(make):
    ids, logits = example()
    values = make(reduction="none")(ids, logits)
    expected = (values[0] * 2 + values[1] * 0.5) / 2
    np.testing.assert_allclose(make()(ids, logits, [2.0, 0.5]), expected, rtol=1e-6)


@pytest.mark.parametrize("wrong", [-1, CLASSES, 200])
def test_id_out_of_range_is_named(make, wrong):
    ids, logits = example()
    ids[0, 3, 4] = wrong
    with pytest.raises(ValueError, match=rf"\[0, {CLASSES}\).* {wrong}$"):
        make()(ids, logits)
    with pytest.raises(tf.errors.InvalidArgumentError, match=str(wrong)):
        tf.function(make().__call__)(ids, logits)


def test_id_out_of_range_is_nan_under_xla(make):
    ids, logits = example()
    ids[0, 3, 4] = CLASSES
    assert np.isnan(tf.function(make().__call__, jit_compile=True)(ids, logits))


def test_fraction_is_no_id(make):
    ids, logits = example()
    ids = ids.astype(np.float32)
    ids[0, 0, 0] = 0.5
    with pytest.raises(ValueError, match=r"0\.5"):
        make()(ids, logits)


@pytest.mark.parametrize(
    ("ids_shape", "logits_shape", "message"),
    [
        ((2, 8, 8), (2, 4, 4, 3), r"\(2, 8, 8\).*\(2, 4, 4, 3\)"),
        ((2, 8, 8), (2, 3, 8, 8), "channels_first"),
        ((2, 4, 8, 8), (2, 4, 8, 8, 3), "3-D"),
        ((2, 8), (2, 8, 8, 3), r"\(2, 8\)"),
        ((2, 8, 8, 4), (2, 8, 8, 3), r"\(2, 8, 8, 4\)"),
    ],
)
def test_wrong_shapes_are_named(make, ids_shape, logits_shape, message):
    with pytest.raises(ValueError, match=message):
        make()(np.zeros(ids_shape, np.int32), np.zeros(logits_shape, np.float32))


def test_different_sizes_are_named_where_shapes_are_dynamic(make):
    signature = [tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([None] * 3 + [3], tf.float32)]
    step = tf.function(lambda ids, logits: make()(ids, logits), input_signature=signature)
    with pytest.raises(tf.errors.InvalidArgumentError, match="resize the logits"):
        step(np.zeros([1, 8, 8], np.int32), np.zeros([1, 4, 4, 3], np.float32))


def test_one_class_is_for_sigmoids(make):
    ids = np.array([[[0, 1, 255]]])
    logits = np.zeros([1, 1, 3, 1], np.float32)
    loss = make()
    if getattr(loss, "class_weights", None):
        loss.class_weights = [2.0]
    if loss.activation == "softmax":
        with pytest.raises(ValueError, match="at least 2 classes"):
            loss(ids, logits)
    else:
        assert np.isfinite(loss(ids, logits))


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
    loss = make()
    _, expected = value_and_gradient(loss, ids, logits)
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


def test_softmax_output_with_from_logits_warns_once(make):
    ids, logits = example()
    with pytest.warns(UserWarning, match="from_logits=True") as caught:
        tf.function(lambda: make()(ids, tf.nn.softmax(logits)))()
    assert len([w for w in caught if "from_logits" in str(w.message)]) == 1
