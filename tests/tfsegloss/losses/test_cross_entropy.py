"""The two cross-entropies against loops in float64, and their options."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss import oracles
from tests.tfsegloss.examples import CLASSES, example
from tests.tfsegloss.steps import value_and_gradient
from tfsegloss import SigmoidCrossEntropy, SoftmaxCrossEntropy
from tfsegloss.core.targets import encode_targets
from tfsegloss.losses.cross_entropy import sigmoid_cross_entropy, softmax_cross_entropy

PAIRS = [
    (SoftmaxCrossEntropy, softmax_cross_entropy, oracles.softmax_pixel_loss),
    (SigmoidCrossEntropy, sigmoid_cross_entropy, oracles.sigmoid_pixel_loss),
]
both = pytest.mark.parametrize(("loss", "function", "oracle"), PAIRS, ids=["softmax", "sigmoid"])


@both
def test_equals_the_loop(loss, function, oracle):
    ids, logits = example()
    expected = oracles.mean_over_valid(oracle, ids, logits)
    np.testing.assert_allclose(loss()(ids, logits), expected, rtol=1e-6)


@both
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradient_equals_central_differences(loss, function, oracle, smoothing):
    ids, logits = example((1, 3, 4), ignored_share=0)
    targets = encode_targets(tf.constant(ids), CLASSES, dtype=tf.float64)

    def value(logits):
        return tf.reduce_sum(function(targets, logits, label_smoothing=smoothing))

    analytic, numeric = tf.test.compute_gradient(value, [tf.constant(logits, tf.float64)])
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-7)


@both
def test_smoothing_is_the_mixture_of_dense_targets(loss, function, oracle):
    ids, logits = example(ignored_share=0)
    floor = 0.1 / (CLASSES if loss is SoftmaxCrossEntropy else 2)
    soft = tf.one_hot(ids, CLASSES) * 0.9 + floor
    expected = loss()(soft, logits)
    np.testing.assert_allclose(loss(label_smoothing=0.1)(ids, logits), expected, rtol=1e-5)


@both
def test_class_weights_multiply_and_the_divisor_stays(loss, function, oracle):
    ids, logits = example()
    weights = [0.0, 3.0, 0.5]
    actual = loss(class_weights=weights)(ids, logits)
    by_pixel = np.array(weights, np.float32)[np.where(ids == 255, 0, ids)]
    np.testing.assert_allclose(actual, loss()(ids, logits, by_pixel), rtol=1e-6)


def test_class_weights_of_independent_targets():
    dense = np.array([[[[1, 1, 0], [0, 0, 0]]]], np.float32)  # two classes, none
    logits = np.zeros(dense.shape, np.float32)
    value = SigmoidCrossEntropy(class_weights=[2.0, 3.0, 5.0])(dense, logits)
    np.testing.assert_allclose(value, 3 * np.log(2) * ((2 + 3) / 2 + 1) / 2, rtol=1e-6)
    uniform = SigmoidCrossEntropy(class_weights=[1.0, 1.0, 1.0])(dense, logits)
    np.testing.assert_allclose(uniform, SigmoidCrossEntropy()(dense, logits), rtol=1e-6)


def test_class_weights_of_one_class_are_those_of_background_and_foreground():
    ids, logits = np.array([[[0, 1, 255]]]), np.zeros([1, 1, 3, 1], np.float32)
    value = SigmoidCrossEntropy(class_weights=[2.0, 5.0])(ids, logits)
    np.testing.assert_allclose(value, np.log(2) * (2 + 5) / 2, rtol=1e-6)


def test_binary_segmentation():
    ids = np.array([[[0, 1, 255]]])
    logits = np.array([[[[0.3], [-0.7], [9.0]]]], np.float32)
    expected = (np.logaddexp(0, 0.3) + np.logaddexp(0, 0.7)) / 2
    np.testing.assert_allclose(SigmoidCrossEntropy()(ids, logits), expected, rtol=1e-6)


def test_an_image_weighs_as_much_as_its_valid_pixels():
    ids, logits = example()
    ids[0, 1:] = 255
    joint = SoftmaxCrossEntropy()(ids, logits)
    singles = [SoftmaxCrossEntropy()(ids[i : i + 1], logits[i : i + 1]) for i in range(2)]
    counts = (ids != 255).sum((1, 2))
    np.testing.assert_allclose(joint, np.average(singles, weights=counts), rtol=1e-6)


def test_a_million_pixels_do_not_lose_precision():
    random = np.random.default_rng(0)
    ids = random.integers(0, 2, [1, 1024, 1024])
    logits = random.normal(size=[1, 1024, 1024, 2]).astype(np.float16)
    x = logits.astype(np.float64)
    margin = np.take_along_axis(x, 1 - ids[..., None], -1) - np.take_along_axis(
        x, ids[..., None], -1
    )
    expected = np.logaddexp(0, margin).mean()
    np.testing.assert_allclose(SoftmaxCrossEntropy()(ids, logits), expected, rtol=1e-6)


@both
def test_weight_zero_is_not_ignored(loss, function, oracle):
    ids, logits = example(ignored_share=0)
    weights = np.ones(ids.shape, np.float32)
    weights[:, ::2] = 0
    kept = np.where(weights == 0, 255, ids)
    shares = (kept != 255).sum() / ids.size
    expected, _ = value_and_gradient(loss(), kept, logits)
    np.testing.assert_allclose(loss()(ids, logits, weights), expected * shares, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_smoothing": 1.5}, r"`label_smoothing` must be in \[0, 1\].*1.5"),
        ({"class_weights": [1.0, -1.0]}, "`class_weights` must be finite and ≥ 0"),
        ({"ignore_class": "255"}, "`ignore_class` must be an int.*'255'"),
        ({"ignore_class": 25.5}, "`ignore_class` must be an int.*25.5"),
        ({"reduction": "median"}, "reduction=median"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxCrossEntropy(**options)


def test_wrong_number_of_class_weights_is_named():
    ids, logits = example()
    with pytest.raises(ValueError, match="must hold 3 numbers.*Received: 2"):
        SoftmaxCrossEntropy(class_weights=[1.0, 2.0])(ids, logits)
    with pytest.raises(ValueError, match=r"sample_weight.*\(2, 13\)"):
        SoftmaxCrossEntropy()(ids, logits, np.ones([2, 13]))


@pytest.mark.parametrize("bad", [-0.5, 1.5, np.nan])
def test_dense_targets_out_of_range_are_named(bad):
    dense = np.full([1, 2, 2, 3], 0.25, np.float32)
    dense[0, 0, 0, 0] = bad
    with pytest.raises(ValueError, match=rf"\[0, 1\].*{bad}"):
        SigmoidCrossEntropy()(dense, np.zeros([1, 2, 2, 3], np.float32))
    with pytest.raises(ValueError, match=r"outside \[0, 3\)"):
        SigmoidCrossEntropy(ignore_class=1)(dense, np.zeros([1, 2, 2, 3], np.float32))
