"""Windows: Gaussian means and sums over neighbors of the same class equal loops over the pixels."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss import oracles
from tfsegloss.kernels import windows, xla

SIZES = [1, 3, 5, 7]


def maps(height=13, width=11, channels=2):
    random = np.random.default_rng(0)
    return tf.constant(random.normal(size=[2, height, width, channels]))


def in_a_cluster(function):
    """Return a function as it is traced for XLA on a CPU."""

    def call(x):
        with xla.planned_for("CPU"):
            return tf.function(lambda x: xla.compiled(function, x))(x)

    return call


both_ways = pytest.mark.parametrize(
    "run_as", [lambda function: function, in_a_cluster], ids=["eager", "cluster"]
)


@pytest.mark.parametrize("size", SIZES)
def test_gaussian_is_the_window_of_one_axis(size):
    weights = np.array(windows.gaussian(size, 1.5))
    np.testing.assert_allclose(np.outer(weights, weights), oracles.gaussian_window(size, 1.5))


def test_chessboard_halves_with_each_step():
    assert windows.chessboard(5)[0] == [0.5, 0.5, 0.5, 0.5, 0.5]
    assert windows.chessboard(5)[2] == [0.5, 1.0, 2.0, 1.0, 0.5]


@pytest.mark.parametrize("size", SIZES)
@both_ways
def test_gaussian_mean_equals_the_loop(size, run_as):
    x = maps()
    patches = np.lib.stride_tricks.sliding_window_view(x.numpy(), (size, size), (1, 2))
    expected = (patches * oracles.gaussian_window(size, 1.5)).sum((-1, -2))
    for mean in (windows.gaussian_mean, windows.fast_gaussian_mean):
        actual = run_as(lambda x, mean=mean: mean(x, size, 1.5))(x)
        np.testing.assert_allclose(actual, expected, rtol=1e-11)


@pytest.mark.parametrize("size", SIZES)
@both_ways
def test_sums_over_the_same_class_equal_the_loop(size, run_as):
    x = maps()
    ids = np.random.default_rng(1).integers(-1, 3, x.shape[:3]).astype(np.int32)
    margin = size // 2
    expected = np.zeros([2, 13 - 2 * margin, 11 - 2 * margin, 2])
    counts = np.zeros(expected.shape[:3])
    for n, i, j in np.ndindex(counts.shape):
        here = ids[n, i + margin, j + margin]
        for a, b in np.ndindex(size, size):
            if here >= 0 and ids[n, i + a, j + b] == here:
                distance = max(abs(a - margin), abs(b - margin))
                expected[n, i, j] += 2.0 ** (1 - distance) * x[n, i + a, j + b]
                counts[n, i, j] += 1

    def sums(x):
        weights = windows.same_class_weights(tf.constant(ids), size, x.dtype)
        return windows.weighted_sum(x, weights), windows.same_class_count(weights)

    actual, count = run_as(sums)(x)
    np.testing.assert_allclose(actual, expected, atol=1e-12)
    np.testing.assert_array_equal(count, counts)


@pytest.mark.parametrize("margin", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 3), (2, 7), (5, 1)])
def test_mirrors_are_numpys(shape, margin):
    x = maps(*shape)
    pad = [(margin, margin)] * 2
    expected = np.pad(x, [(0, 0), *pad, (0, 0)], mode="reflect")
    np.testing.assert_array_equal(windows.mirror(x, margin), expected)
    expected = np.pad(x, [(0, 0), (0, 0), *pad[1:], (0, 0)], mode="reflect")
    np.testing.assert_array_equal(windows.mirror_columns(x, margin), expected)


@pytest.mark.parametrize("window", [3, 5, 7])
@pytest.mark.parametrize("shape", [(1, 3), (2, 7), (7, 2), (3, 3)])
def test_the_adjoint_of_a_mirrored_mean_is_a_mean_again(shape, window):
    """mᵀu = m(e·u) / e for m as a matrix, whose columns are the means of single pixels."""
    pixels = np.eye(np.prod(shape)).reshape(-1, *shape)
    weights = oracles.gaussian_window(window, 1.5)
    means = [(weights * oracles.local_patches(pixel, window)).sum((2, 3)) for pixel in pixels]
    mean = np.stack(means, -1).reshape(len(pixels), len(pixels))
    edges = windows.edge_counts(tf.ones([1, *shape], tf.bool), tf.float64).numpy().ravel()
    upstream = np.random.default_rng(0).normal(size=len(pixels))
    np.testing.assert_allclose(mean.T @ upstream, mean @ (edges * upstream) / edges, rtol=1e-12)
