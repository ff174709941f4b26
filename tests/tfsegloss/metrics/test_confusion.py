"""The confusion matrix and what is read off it."""

import numpy as np
import pytest
import tensorflow as tf

from tests import keras_versions
from tests.tfsegloss.examples import CLASSES, example
from tfsegloss import MeanIoU
from tfsegloss.core.keras_versions import keras
from tfsegloss.metrics.confusion import confusion_matrix, iou_per_class, mean_iou, pixel_accuracy


def count_by_hand(ids, predicted, num_classes):
    matrix = np.zeros([num_classes, num_classes], int)
    for i in np.ndindex(ids.shape):
        if ids[i] != 255:
            matrix[ids[i], predicted[i]] += 1
    return matrix


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
def test_counts_of_pixels(compiled):
    ids, logits = example()
    predicted = logits.argmax(-1)
    expected = count_by_hand(ids, predicted, CLASSES)
    dense = np.where(ids[..., None] == 255, 0, np.eye(CLASSES, dtype=np.float32)[ids % 255])
    np.testing.assert_array_equal(confusion_matrix(dense, predicted, CLASSES), expected)
    count = tf.function(confusion_matrix, jit_compile=compiled)
    np.testing.assert_array_equal(confusion_matrix(ids, predicted, CLASSES), expected)
    np.testing.assert_array_equal(count(ids, predicted, CLASSES), expected)


def test_metric_sums_over_batches():
    ids, logits = example((4, 9, 7))
    matrix = count_by_hand(ids, logits.argmax(-1), CLASSES)
    hits = np.diag(matrix)
    iou = hits / (matrix.sum(0) + matrix.sum(1) - hits)
    metric = MeanIoU(num_classes=CLASSES)
    metric.update_state(ids[:1], logits[:1])
    metric.update_state(ids[1:, ..., None].astype(np.float32), tf.nn.softmax(logits[1:]))
    np.testing.assert_allclose(metric.iou_per_class(), iou)
    np.testing.assert_allclose(metric.result(), iou.mean())
    metric.reset_state()
    assert np.isnan(metric.result())


def test_absent_classes_are_left_out_of_the_mean():
    ids = np.array([[[0, 0, 255]]])
    matrix = confusion_matrix(ids, np.array([[[0, 0, 2]]]), 3)
    np.testing.assert_array_equal(iou_per_class(matrix), [1.0, np.nan, np.nan])
    assert mean_iou(matrix) == 1
    assert pixel_accuracy(matrix) == 1
    # A class that is only predicted is not absent: it was predicted wrongly.
    matrix = confusion_matrix(ids, np.array([[[0, 1, 2]]]), 3)
    assert mean_iou(matrix) == 0.25


def test_nothing_counted_is_nan():
    matrix = confusion_matrix(np.full([1, 2, 2], 255), np.zeros([1, 2, 2], int), 3)
    assert np.isnan(mean_iou(matrix))
    assert np.isnan(pixel_accuracy(matrix))


@pytest.mark.parametrize(
    ("from_logits", "scores"), [(True, [-0.1, 0.1, 0.1]), (False, [0.4, 0.6, 0.6])]
)
def test_one_class_is_binary(from_logits, scores):
    metric = MeanIoU(num_classes=1, from_logits=from_logits)
    metric.update_state(np.array([[[0, 1, 0]]]), np.reshape(scores, [1, 1, 3, 1]))
    np.testing.assert_allclose(metric.iou_per_class(), [0.5, 0.5])


def test_in_compile_and_after_loading(tmp_path):
    ids, logits = example((4, 8, 8))
    model = keras.Sequential([keras.Input((8, 8, CLASSES)), keras.layers.Activation("linear")])
    model.compile(loss="mse", metrics=[MeanIoU(num_classes=CLASSES)], jit_compile=False)
    expected = MeanIoU(num_classes=CLASSES)
    expected.update_state(ids, logits)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for m in (model, again):
        m.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255),
            metrics=[MeanIoU(num_classes=CLASSES)],
        )
        score = m.evaluate(logits, ids, batch_size=2, verbose=0, return_dict=True)["mean_iou"]
        np.testing.assert_allclose(score, expected.result(), rtol=1e-6)


def test_counts_on_two_replicas(two_replicas):
    ids, logits = example((2, 8, 8))
    with two_replicas.scope():
        metric = MeanIoU(num_classes=CLASSES)
    data = tf.data.Dataset.from_tensor_slices((ids, logits)).batch(2)
    for batch in two_replicas.experimental_distribute_dataset(data):
        two_replicas.run(metric.update_state, args=batch)
    expected = count_by_hand(ids, logits.argmax(-1), CLASSES)
    np.testing.assert_array_equal(metric.matrix.numpy(), expected)


def test_more_pixels_than_float32_counts():
    metric = MeanIoU(num_classes=2)
    metric.matrix.assign([[2**24, 0], [0, 0]])
    metric.update_state(np.zeros([1, 1, 1], int), np.array([[[[1.0, 0.0]]]]))
    assert metric.matrix.numpy()[0, 0] == 2**24 + 1


def test_an_id_out_of_range_is_no_background():
    ids, predicted = np.full([1, 2, 2], 7), np.zeros([1, 2, 2], int)
    with pytest.raises(ValueError, match="7"):
        confusion_matrix(ids, predicted, CLASSES)
    compiled = tf.function(confusion_matrix, jit_compile=True)
    assert np.isnan(compiled(ids, predicted, CLASSES)).all()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"\(batch, height, width, 3\).*\(1, 2, 2, 4\)"):
        MeanIoU(num_classes=3).update_state(np.zeros([1, 2, 2]), np.zeros([1, 2, 2, 4]))
    with pytest.raises(ValueError, match="`sample_weight` must be None"):
        MeanIoU(num_classes=3).update_state(
            np.zeros([1, 2, 2]), np.zeros([1, 2, 2, 3]), np.ones([1, 2, 2])
        )
    with pytest.raises(ValueError, match="`num_classes`"):
        MeanIoU(num_classes=0)


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ([[[0, 2, 0]]], r"`predicted` must hold ids in \[0, 2\). Received ids: 2"),
        ([[[0]]], r"Received: y_true \(1, 1, 3\), predicted \(1, 1, 1\)"),
    ],
)
def test_predictions_that_are_no_ids_of_these_pixels_are_named(predicted, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix([[[0, 1, 255]]], predicted, num_classes=2)


def test_what_is_predicted_at_ignored_pixels_does_not_matter():
    matrix = confusion_matrix([[[0, 1, 255]]], [[[0, 1, 255]]], num_classes=2)
    assert matrix.numpy().tolist() == [[1, 0], [0, 1]]


def test_counts_are_exact_within_a_layer_of_half_precision():
    """Keras would read floats of a metric as float16 there, which ends at 65504."""

    class Counting(keras.layers.Layer):
        def __init__(self):
            super().__init__(dtype="mixed_float16")
            self.metric = MeanIoU(num_classes=2)

        def call(self, ids, logits):
            self.metric.update_state(ids, logits)
            return self.metric.result()

    ids = tf.zeros([1, 300, 300], tf.int32)
    logits = tf.one_hot(ids, 2)
    layer = Counting()
    assert float(layer(ids, logits)) == 1.0
    assert layer.metric.matrix.numpy().tolist() == [[90_000, 0], [0, 0]]


def test_predictions_that_are_nan_are_no_class():
    logits = np.zeros([1, 1, 2, 3])
    logits[0, 0, 1] = np.nan
    metric = MeanIoU(num_classes=3)
    metric.update_state([[[0, 255]]], logits)  # ignored
    with pytest.raises(ValueError, match="`predicted` must hold ids.*Received ids: -1"):
        metric.update_state([[[0, 0]]], logits)
    step = tf.function(keras_versions.update_of(metric), jit_compile=True)
    step(tf.constant([[[0, 0]]]), tf.constant(logits))
    assert np.isnan(metric.result())


def test_sizes_are_compared_in_a_graph_too():
    specs = [tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([None, None, None, 3])]
    step = tf.function(keras_versions.update_of(MeanIoU(num_classes=3)), input_signature=specs)
    with pytest.raises(tf.errors.InvalidArgumentError, match="same batch, height and width"):
        step(tf.zeros([2, 4, 4], tf.int32), tf.zeros([2, 1, 1, 3]))


def test_probabilities_of_one_class_are_not_taken_for_logits_in_silence():
    metric = MeanIoU(num_classes=1)
    with pytest.warns(UserWarning, match="from_logits=False"):
        metric.update_state([[[0, 1]]], [[[[0.1], [0.9]]]])
    right = MeanIoU(num_classes=1, from_logits=False)
    right.update_state([[[0, 1]]], [[[[0.1], [0.9]]]])
    assert float(right.result()) == 1.0


def test_a_class_of_the_ignored_id_is_warned_of():
    with pytest.warns(UserWarning, match="Of the 300 classes, 255 is ignored"):
        confusion_matrix([[[255, 299]]], [[[0, 299]]], num_classes=300)


def test_soft_targets_of_one_class_are_its_foreground_above_a_half():
    matrix = confusion_matrix([[[[0.2], [0.7], [255.0]]]], [[[1, 1, 0]]], num_classes=1)
    np.testing.assert_array_equal(matrix, [[0, 1], [0, 1]])
