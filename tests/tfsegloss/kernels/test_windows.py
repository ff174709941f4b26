"""Windows: both forms agree with each other and with a loop, and so do their gradients."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss import oracles
from tfsegloss.kernels import windows

SIZES = [1, 3, 5, 7]


def maps(height=13, width=11, channels=2):
    random = np.random.default_rng(0)
    return tf.constant(random.normal(size=[height, width, channels]))


@pytest.mark.parametrize("size", SIZES)
def test_gaussian_is_the_window_of_one_axis(size):
    weights = np.array(windows.gaussian(size, 1.5))
    np.testing.assert_allclose(np.outer(weights, weights), oracles.gaussian_window(size, 1.5))


def test_chessboard_halves_with_each_step():
    assert windows.chessboard(5)[0] == [0.5, 0.5, 0.5, 0.5, 0.5]
    assert windows.chessboard(5)[2] == [0.5, 1.0, 2.0, 1.0, 0.5]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "mean", [windows.gaussian_mean_shifted, windows.gaussian_mean_depthwise], ids=["shifted", "dw"]
)
def test_gaussian_mean_equals_the_loop(mean, size):
    x = maps()
    patches = np.lib.stride_tricks.sliding_window_view(x.numpy(), (size, size), (0, 1))
    expected = (patches * oracles.gaussian_window(size, 1.5)).sum((-1, -2))
    np.testing.assert_allclose(mean(x, size, 1.5), expected, rtol=1e-12)
    analytic, numeric = tf.test.compute_gradient(lambda x: mean(x, size, 1.5), [x[:8, :8]])
    np.testing.assert_allclose(analytic[0], numeric[0], atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_same_class_sum_equals_the_loop_in_both_forms(size):
    x = maps()
    ids = np.random.default_rng(1).integers(-1, 3, x.shape[:2]).astype(np.int32)
    margin = size // 2
    expected = np.zeros([13 - 2 * margin, 11 - 2 * margin, 2])
    counts = np.zeros(expected.shape[:2])
    for i, j in np.ndindex(counts.shape):
        here = ids[i + margin, j + margin]
        for a, b in np.ndindex(size, size):
            if here >= 0 and ids[i + a, j + b] == here:
                distance = max(abs(a - margin), abs(b - margin))
                expected[i, j] += 2.0 ** (1 - distance) * x[i + a, j + b]
                counts[i, j] += 1
    np.testing.assert_allclose(windows.same_class_sum(x, ids, size), expected, atol=1e-12)
    depthwise = windows.same_class_sum_depthwise(x, tf.constant(ids), size, num_classes=3)
    np.testing.assert_allclose(depthwise, expected, atol=1e-12)
    np.testing.assert_array_equal(windows.same_class_count(tf.constant(ids), size), counts)


def test_forms_agree_in_float32():
    x = tf.cast(maps(64, 48, 5), tf.float32)
    shifted = windows.gaussian_mean_shifted(x, 5, 1.5)
    np.testing.assert_allclose(windows.gaussian_mean_depthwise(x, 5, 1.5), shifted, atol=1e-6)
    ids = tf.random.stateless_uniform([64, 48], [1, 2], -1, 4, tf.int32)
    shifted = windows.same_class_sum(x, ids, 5)
    depthwise = windows.same_class_sum_depthwise(x, ids, 5, num_classes=4)
    np.testing.assert_allclose(depthwise, shifted, atol=1e-5)
