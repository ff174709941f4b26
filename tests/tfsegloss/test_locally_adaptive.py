"""LAD against loops over neighbours, and its options."""

import numpy as np
import pytest
import tensorflow as tf

from tfsegloss import LADLoss, MaxPooling, Mean, Minkowski, SoftmaxCrossEntropy, TopK, labels
from tfsegloss.locally_adaptive import locally_adaptive
from tfsegloss.windows import same_class_count, same_class_sum

from . import oracles
from .losses import CLASSES, example, value_and_gradient


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 5), (40, 9)])
def test_equals_the_loop(size, shape):
    ids, logits = example((1, *shape))
    logits = logits.astype(np.float64)
    targets = labels.encode(tf.constant(ids), CLASSES)
    expected = oracles.locally_adaptive(ids[0], logits[0], size)
    for function in (locally_adaptive, tf.function(locally_adaptive)):
        actual = function(targets, tf.constant(logits), kernel_size=size)[0]
        np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_gradient_equals_central_differences(size):
    ids, logits = example((2, 5, 4))
    targets = labels.encode(tf.constant(ids), CLASSES)
    function = tf.function(lambda x: locally_adaptive(targets, x, kernel_size=size))
    x = tf.constant(logits, tf.float64)
    analytic, numeric = tf.test.compute_gradient(function, [x], delta=1e-5)
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-6)


@pytest.mark.parametrize("size", [3, 5])
def test_the_gradient_is_the_tapes(size):
    """The pooling applied again, against TensorFlow's gradient of every shifted map."""
    ids, logits = example((1, 9, 8))
    margin = size // 2
    targets = labels.encode(tf.constant(ids), CLASSES, dtype=tf.float64)
    padded = tf.pad(tf.where(targets.valid, targets.ids, -1)[0], [[margin] * 2] * 2, "CONSTANT", -1)
    count = tf.cast(tf.maximum(same_class_count(padded, size), 1), tf.float64)[..., None]

    def plain(x):
        mean, variance = tf.nn.moments(x[0], axes=[-1], keepdims=True)
        z = (x[0] - mean) * tf.math.rsqrt(variance + 1e-6)
        z = tf.pad(z, [[margin] * 2, [margin] * 2, [0, 0]])
        f = same_class_sum(z, padded, size) / count
        return tf.nn.sparse_softmax_cross_entropy_with_logits(targets.ids[0], f)

    x, slopes = tf.constant(logits, tf.float64), []
    weights = tf.where(targets.valid, tf.random.stateless_normal(ids.shape, [0, 1]), 0)
    for function in (plain, lambda x: locally_adaptive(targets, x, kernel_size=size)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(function(x) * tf.cast(weights, tf.float64))
        slopes.append(tape.gradient(value, x))
    np.testing.assert_allclose(slopes[1], slopes[0], atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pooling", [Minkowski(k=3), Mean(), MaxPooling(p=1, fraction=1.0)])
def test_stride_counts_every_so_many_pixels(stride, pooling):
    ids, logits = example()
    losses = np.stack([oracles.locally_adaptive(i, x, 3) for i, x in zip(ids, logits, strict=True)])
    losses, valid = losses[:, ::stride, ::stride], ids[:, ::stride, ::stride] != 255
    counted = [image[v] for image, v in zip(losses, valid, strict=True)]
    if isinstance(pooling, Minkowski):
        expected = np.mean([np.mean(values**3) ** (1 / 3) for values in counted])
    elif isinstance(pooling, Mean):
        expected = np.concatenate(counted).mean()
    else:
        expected = np.mean([values.mean() for values in counted])
    actual = LADLoss(kernel_size=3, stride=stride, pooling=pooling)(ids, logits)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_a_kernel_of_one_is_cross_entropy_of_twice_the_standardised_logits():
    ids, logits = example()
    z = logits - logits.mean(-1, keepdims=True)
    z /= np.sqrt((z**2).mean(-1, keepdims=True) + 1e-6)
    expected = SoftmaxCrossEntropy(pooling=TopK())(ids, 2 * z)
    actual = LADLoss(kernel_size=1, pooling=TopK())(ids, logits)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_neighbours_of_other_classes_and_ignored_ones_are_not_seen():
    ids = np.array([[[0, 1, 255, 0]]])
    logits = np.random.default_rng(0).normal(size=[1, 1, 4, 2]).astype(np.float32)
    loss = LADLoss(kernel_size=3, pooling=Mean(), reduction="none")
    alone = LADLoss(kernel_size=1, pooling=Mean(), reduction="none")
    np.testing.assert_allclose(loss(ids, logits), alone(ids, logits), rtol=1e-6)


def test_a_wrong_pixel_pulls_its_neighbours():
    ids = np.zeros([1, 3, 3], np.int32)
    logits = np.tile(np.float32([4, 0]), [1, 3, 3, 1])
    logits[0, 1, 1] = [0, 4]
    _, gradient = value_and_gradient(LADLoss(kernel_size=3, pooling=Mean()), ids, logits)
    softmax = value_and_gradient(SoftmaxCrossEntropy(), ids, logits)[1]
    assert abs(gradient[0, 1, 1]).sum() > 0
    assert np.sign(gradient[0, 1, 1, 0]) == np.sign(softmax[0, 1, 1, 0]) == -1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "`kernel_size` must be odd.*4"),
        ({"kernel_size": 0}, "`kernel_size` must be odd.*0"),
        ({"stride": 0}, "`stride` must be an integer of at least 1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LADLoss(**options)
