"""The metric of independent classes."""

import numpy as np
import pytest
import tensorflow as tf

from tests import keras_versions
from tfsegloss import MultiLabelIoU, SigmoidCrossEntropy
from tfsegloss.core.keras_versions import keras

CLASSES = 3


def batch(seed=0):
    generator = np.random.default_rng(seed)
    y_true = (generator.random([2, 5, 7, CLASSES]) < 0.4).astype(np.float32)
    y_true[0, :2] = 255
    return y_true, generator.normal(size=y_true.shape).astype(np.float32)


def iou_by_hand(y_true, logits, threshold=0.5):
    counted = y_true[..., 0] != 255
    true, found = y_true[counted] > 0.5, 1 / (1 + np.exp(-logits[counted])) > threshold
    return (true & found).sum(0) / (true | found).sum(0)


@pytest.mark.parametrize("threshold", [0.5, 0.3])
@pytest.mark.parametrize("compiled", [None, False, True], ids=["eager", "graph", "xla"])
def test_counts_each_class_alone(compiled, threshold):
    y_true, logits = batch()
    metric = MultiLabelIoU(CLASSES, threshold=threshold)
    update = keras_versions.update_of(metric)
    if compiled is not None:
        update = tf.function(update, jit_compile=compiled)
    update(y_true[:1], logits[:1])
    update(y_true[1:], logits[1:])
    expected = iou_by_hand(y_true, logits, threshold)
    np.testing.assert_allclose(metric.iou_per_class(), expected)
    np.testing.assert_allclose(metric.result(), expected.mean())


def test_probabilities():
    y_true, logits = batch()
    metric = MultiLabelIoU(CLASSES, from_logits=False)
    metric.update_state(y_true, tf.sigmoid(logits))
    np.testing.assert_allclose(metric.iou_per_class(), iou_by_hand(y_true, logits))


def test_an_absent_class_is_left_out_of_the_mean():
    metric = MultiLabelIoU(2)
    metric.update_state([[[[1, 0], [1, 0]]]], [[[[1.0, -1.0], [-1.0, -1.0]]]])
    np.testing.assert_array_equal(metric.iou_per_class(), [0.5, np.nan])
    assert float(metric.result()) == 0.5


def test_nan_is_no_background():
    metric = MultiLabelIoU(1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
        metric.update_state([[[[0], [1]]]], [[[[np.nan], [1.0]]]])
    # XLA has no assertions.
    update = tf.function(keras_versions.update_of(metric), jit_compile=True)
    update([[[[0], [1]]]], [[[[np.nan], [1.0]]]])
    assert np.isnan(metric.result())


def test_shapes_are_checked():
    metric = MultiLabelIoU(3)
    with pytest.raises(ValueError, match=r"\(batch, height, width, 3\)"):
        metric.update_state(np.zeros([1, 2, 2, 2]), np.zeros([1, 2, 2, 2]))
    with pytest.raises(ValueError, match="counts pixels"):
        metric.update_state(np.zeros([1, 2, 2, 3]), np.zeros([1, 2, 2, 3]), np.ones(1))


def test_in_compile_and_after_loading(tmp_path):
    y_true, logits = batch()
    model = keras.Sequential([keras.Input((5, 7, CLASSES)), keras.layers.Activation("linear")])
    model.compile(loss=SigmoidCrossEntropy(), metrics=[MultiLabelIoU(CLASSES, threshold=0.3)])
    expected = iou_by_hand(y_true, logits, 0.3).mean()
    model.save(tmp_path / "model.keras")
    for m in (model, keras.saving.load_model(tmp_path / "model.keras")):
        score = m.evaluate(logits, y_true, batch_size=1, verbose=0, return_dict=True)
        np.testing.assert_allclose(score["multi_label_iou"], expected, rtol=1e-6)
