"""LAD against loops over neighbors, and its options."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss import oracles
from tests.tfsegloss.examples import CLASSES, IGNORED, example, soft_targets
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import value_and_gradient
from tfsegloss import LADLoss, MaxPooling, Mean, Minkowski, SoftmaxCrossEntropy, TopK
from tfsegloss.core.targets import encode_targets
from tfsegloss.losses.lad import locally_adaptive

SIZES = [1, 3, 5, 7]
sizes = pytest.mark.parametrize("size", SIZES)


# Its cluster takes seconds to compile.
@grid(
    lambda size, shape, mode: mode == "eager" and (size in (3, 5) or shape == (7, 5)),
    size=SIZES,
    shape=[(1, 1), (2, 3), (7, 5), (40, 9)],
    mode={"eager": lambda function: function, "graph": tf.function},
)
def test_equals_the_loop(size, shape, mode):
    ids, logits = example((1, *shape))
    logits = logits.astype(np.float64)
    targets = encode_targets(tf.constant(ids), CLASSES)
    expected = oracles.locally_adaptive(ids[0], logits[0], size)
    actual = mode(locally_adaptive)(targets, tf.constant(logits), kernel_size=size)[0]
    np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.mark.usefixtures("without_clusters")
@grid(
    lambda size, labels: size == 3 or (size, labels) == (5, "ids"),
    size=SIZES,
    labels=["ids", "soft"],
)
def test_gradient_equals_central_differences(size, labels):
    ids, logits = example((1, 5, 4))
    if labels == "soft":
        ids = soft_targets(ids.shape)
    targets = encode_targets(tf.constant(ids), CLASSES)  # dense ones in float32
    function = tf.function(lambda x: locally_adaptive(targets, x, kernel_size=size))
    x = tf.constant(logits, tf.float64)
    analytic, numeric = tf.test.compute_gradient(function, [x], delta=1e-5)
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-6)


@pytest.mark.usefixtures("without_clusters")
def test_gradient_with_a_stride_equals_central_differences():
    ids, logits = example((1, 5, 4))
    targets = encode_targets(tf.constant(ids), CLASSES, dtype=tf.float64)
    loss = LADLoss(kernel_size=3, stride=2)
    function = tf.function(lambda x: loss.terms(targets, x, None)["pixels"])
    x = tf.constant(logits, tf.float64)
    analytic, numeric = tf.test.compute_gradient(function, [x], delta=1e-5)
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-6)


@sizes
def test_the_gradient_is_the_tapes(size):
    """The pooling applied again, against TensorFlow's gradient of every shifted map."""
    ids, logits = example((1, 9, 8))
    targets = encode_targets(tf.constant(ids), CLASSES, dtype=tf.float64)
    reach = size // 2
    # A border as wide as the window: what `tf.roll` takes from the other end is never of a class.
    places = tf.pad(tf.where(ids == 255, -1, ids)[0], [[reach] * 2] * 2, constant_values=-1)

    def plain(x):
        mean, variance = tf.nn.moments(x[0], axes=[-1], keepdims=True)
        z = tf.pad((x[0] - mean) / tf.sqrt(variance + 1e-6), [[reach] * 2, [reach] * 2, [0, 0]])
        total, count = 0.0, 0.0
        for i, j in np.ndindex(size, size):
            offset = (i - reach, j - reach)
            same = (tf.roll(places, offset, [0, 1]) == places) & (places >= 0)
            same = tf.cast(same, x.dtype)[..., tf.newaxis]
            total += 2.0 ** (1 - max(map(abs, offset))) * same * tf.roll(z, offset, [0, 1])
            count += same
        f = total / tf.maximum(count, 1)
        f = f[reach : reach + 9, reach : reach + 8]
        return tf.nn.sparse_softmax_cross_entropy_with_logits(targets.ids[0], f)[tf.newaxis]

    x, results = tf.constant(logits, tf.float64), []
    weights = tf.where(
        targets.valid, tf.random.stateless_normal(ids.shape, [0, 1], dtype=tf.float64), 0
    )
    for function in (plain, lambda x: locally_adaptive(targets, x, kernel_size=size)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(function(x) * weights)
        results.append((value, tape.gradient(value, x)))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-12)
    np.testing.assert_allclose(results[1][1], results[0][1], atol=1e-12)


def pooled(pooling, images):
    """Return what a pooling makes of the counted losses of each image."""
    if isinstance(pooling, Mean):
        return np.concatenate(images).mean()
    if isinstance(pooling, Minkowski):
        return np.mean([oracles.minkowski_mean(losses, pooling.k) for losses in images])
    return np.mean([oracles.max_pooling_weights(losses, 1.3, 0.25) @ losses for losses in images])


@grid(lambda size: size == 3, size=SIZES)
def test_stride_counts_every_so_many_pixels(size):
    ids, logits = example()
    maps = [
        oracles.locally_adaptive(i, x.astype(np.float64), size)
        for i, x in zip(ids, logits, strict=True)
    ]
    for stride in (1, 2, 3):
        grid = (slice(None, None, stride),) * 2
        images = [m[grid][i[grid] != 255] for m, i in zip(maps, ids, strict=True)]
        for pooling in (Minkowski(k=3), Mean(), MaxPooling(p=1.3, fraction=0.25)):
            loss = LADLoss(kernel_size=size, stride=stride, pooling=pooling)
            expected = pooled(pooling, images)
            np.testing.assert_allclose(loss(ids, logits), expected, rtol=1e-5)


def test_a_kernel_of_one_is_cross_entropy_of_twice_the_standardized_logits():
    ids, logits = example()
    z = logits - logits.mean(-1, keepdims=True)
    z /= np.sqrt((z**2).mean(-1, keepdims=True) + 1e-6)
    expected = SoftmaxCrossEntropy(pooling=TopK())(ids, 2 * z)
    actual = LADLoss(kernel_size=1, pooling=TopK())(ids, logits)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_neighbors_of_other_classes_and_ignored_ones_are_not_seen():
    ids = np.array([[[0, 1, 255, 0]]])
    logits = np.random.default_rng(0).normal(size=[1, 1, 4, 3]).astype(np.float32)
    loss = LADLoss(kernel_size=3, pooling=Mean(), reduction="none")
    alone = LADLoss(kernel_size=1, pooling=Mean(), reduction="none")
    np.testing.assert_allclose(loss(ids, logits), alone(ids, logits), rtol=1e-6)


def test_a_pixel_without_a_class_is_not_seen():
    """As where `ignore_class` is None: it is none of the first class."""
    ids, logits = example((1, 5, 6))
    truth = (ids[..., np.newaxis] == np.arange(CLASSES)).astype(np.float32)  # 0 where ignored
    loss = LADLoss(kernel_size=3, pooling=Mean(), reduction="sum", ignore_class=None)
    valid = LADLoss(kernel_size=3, pooling=Mean(), reduction="sum")
    value, gradient = value_and_gradient(loss, truth, logits)
    expected, expected_gradient = value_and_gradient(valid, ids, logits)
    share = np.mean(ids != IGNORED)  # the pixels without a class count, with a loss of 0
    np.testing.assert_allclose(value, share * expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, share * expected_gradient, atol=1e-7)


def test_a_wrong_pixel_pulls_its_neighbors():
    ids = np.zeros([1, 3, 3], np.int32)
    logits = np.tile(np.float32([4, 0, 0]), [1, 3, 3, 1])
    logits[0, 1, 1] = [0, 4, 0]
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


@pytest.mark.parametrize("num_classes", [3, 2100])
def test_one_sure_class_among_thousands(num_classes):
    """Its standardized logit is √(C − 1), and twice that the pooled one: e⁹¹ has no float32."""
    logits = np.zeros([1, 1, 2, num_classes], np.float32)
    logits[0, 0, 0, 1] = 9
    value, gradient = value_and_gradient(LADLoss(kernel_size=1), np.array([[[1, 0]]]), logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("use", ["__call__", "maps"])
def test_two_classes_have_no_gradient_and_are_refused(use):
    ids, logits = np.array([[[0, 1]]]), np.zeros([1, 1, 2, 2], np.float32)
    call = getattr(LADLoss(), use)
    with pytest.raises(ValueError, match="LADLoss needs at least 3 classes.*SoftmaxCrossEntropy"):
        call(ids, logits)
