"""Models of Keras 2: what its users expect, and two replicas in `fit`."""

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests import keras_versions
from tests.tfsegloss.examples import CLASSES, IGNORED, example
from tests.tfsegloss.variants import FIRST
from tfsegloss.core.keras_versions import keras


def network():
    inputs = keras.Input((12, 12, CLASSES))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(CLASSES, 3, padding="same")(x))


@pytest.fixture
def mixed_float16():
    keras_versions.set_dtype_policy("mixed_float16")
    yield
    keras_versions.set_dtype_policy("float32")


def test_the_classes_are_those_of_tf_keras():
    assert isinstance(tfsegloss.RMILoss(), tf.keras.losses.Loss)
    assert isinstance(tfsegloss.MeanIoU(num_classes=2), tf.keras.metrics.Metric)
    inputs = tf.keras.Input((None, None, CLASSES))
    model = tf.keras.Model(inputs, tf.keras.layers.Conv2D(CLASSES, 3, padding="same")(inputs))
    model.compile("sgd", loss=tfsegloss.RMILoss(), metrics=[tfsegloss.MeanIoU(num_classes=CLASSES)])
    ids, images = example((2, 12, 12))
    before = model.get_weights()[0]
    logs = model.fit(images, ids, epochs=2, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    assert (model.get_weights()[0] != before).all()


@pytest.mark.usefixtures("without_clusters")
@pytest.mark.parametrize(
    ("name", "reduction"),
    [
        ("RMILoss", "sum_over_batch_size"),
        ("CenterLoss", "sum_over_batch_size"),
        ("WeightedLosses", "sum_over_batch_size"),
        ("WeightedLosses", "sum"),
    ],
)
def test_fit_on_two_replicas_equals_one(name, reduction, two_replicas):
    """What Keras 2 does not divide by the number of replicas in a call, it divides in `fit`.

    Metrics are of all replicas, and of one epoch.
    """
    ids, images = example((4, 12, 12))
    ids[:2, 1:] = IGNORED

    def weights(strategy):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            model = network()
            rate = 0.05 if reduction == "sum_over_batch_size" else 0.01
            loss = FIRST[name](reduction=reduction)
            metrics = [
                tfsegloss.MeanIoU(CLASSES),
                tfsegloss.MultiLabelIoU(CLASSES, threshold=0.4),
            ]
            model.compile(optimizer=keras.optimizers.SGD(rate), loss=loss, metrics=metrics)
        logs = model.fit(images, ids, batch_size=4, epochs=2, shuffle=False, verbose=0).history
        assert logs.keys() == {"loss", "mean_iou", "multi_label_iou"}
        assert all(0 < value < 1 for value in logs["mean_iou"] + logs["multi_label_iou"])
        return [*model.get_weights(), *logs.values()]

    for ours, theirs in zip(
        weights(two_replicas), weights(tf.distribute.get_strategy()), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_loss_of_keras_2_joins_a_sum(two_replicas):
    """Its reduction is called "auto"."""
    ids, images = example((4, 12, 12))
    other = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORED)
    loss = tfsegloss.WeightedLosses(
        {"ours": (1.0, tfsegloss.SoftmaxCrossEntropy()), "theirs": (0.5, other)}
    )
    expected = tfsegloss.SoftmaxCrossEntropy()(ids, images) + 0.5 * other(ids, images)
    np.testing.assert_allclose(loss(ids, images), expected, rtol=1e-6)
    with two_replicas.scope():
        model = network()
        model.compile("sgd", loss=loss)
    assert np.isfinite(model.fit(images, ids, verbose=0).history["loss"]).all()


SUMS = {
    "loss": tfsegloss.SoftmaxCrossEntropy,
    "sum": lambda: tfsegloss.SoftmaxCrossEntropy() + 0.5 * tfsegloss.LADLoss(),
    "sum in a sum": lambda: tfsegloss.WeightedLosses({"inner": (2.0, SUMS["sum"]())}),
    "sum with one of Keras": lambda: tfsegloss.SoftmaxCrossEntropy() + of_keras(),
}


def of_keras():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORED)


@pytest.mark.parametrize("kind", SUMS)
def test_a_mean_is_refused_in_a_loop_of_ones_own(kind, two_replicas):
    """As that of Keras 2's own losses; `value_and_parts` is for such loops."""
    ids, logits = example()
    loss = SUMS[kind]()
    with pytest.raises(ValueError, match="for loss reduction when losses are used with"):
        two_replicas.run(lambda: loss(ids, logits))
    shares = two_replicas.run(lambda: loss.value_and_parts(ids, logits)[0])
    total = two_replicas.reduce("SUM", shares, axis=None)
    np.testing.assert_allclose(total, loss(ids, logits), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_sum_with_a_loss_of_keras_takes_half_precision(dtype):
    """All its losses are computed in float32."""
    ids, logits = example()
    logits = tf.cast(logits, dtype)
    loss = tfsegloss.SoftmaxCrossEntropy() + of_keras()
    expected = loss(ids, tf.cast(logits, "float32"))
    assert expected.dtype == "float32"
    assert loss(ids, logits) == expected
    assert loss.value_and_parts(ids, logits)[0] == expected


def test_a_sum_with_a_loss_of_keras_trains_in_mixed_precision(mixed_float16):
    ids, images = example((4, 12, 12))
    model = network()
    assert model.compute_dtype == model.output.dtype == "float16"
    loss = tfsegloss.SoftmaxCrossEntropy() + of_keras()
    model.compile("sgd", loss=loss)
    expected = loss(ids, model(images))
    value = model.fit(images, ids, batch_size=4, verbose=0).history["loss"][0]
    np.testing.assert_allclose(value, expected, rtol=1e-3)


@pytest.mark.parametrize("kind", ["loss", "sum", "sum with one of Keras"])
def test_the_mask_of_outputs_counts_in_half_precision_too(kind):
    """Keras 2 multiplies the values of images by it."""
    ids, logits = example()
    half = tf.cast(logits, "bfloat16")
    whole = tf.cast(half, "float32")
    loss = SUMS[kind]()
    unmasked = loss(ids, whole)
    shape = [2, 1, 1] if kind == "sum with one of Keras" else [2]
    for outputs in (half, whole):
        outputs._keras_mask = tf.reshape([True, False], shape)
    assert loss(ids, half) == loss(ids, whole) != unmasked


def test_reductions_of_keras_3():
    assert tfsegloss.LADLoss(reduction=None).reduction == "none"
    assert tfsegloss.LADLoss(reduction="mean").reduction == "sum_over_batch_size"
    automatic = tfsegloss.LADLoss(reduction="auto")  # Keras 2's own, which Keras 3 refuses
    assert automatic.get_config()["reduction"] == "sum_over_batch_size"
    with pytest.raises(ValueError, match='`reduction` "mean_with_sample_weight" is of Keras 3'):
        tfsegloss.LADLoss(reduction="mean_with_sample_weight")
