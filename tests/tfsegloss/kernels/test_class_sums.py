"""Sums over the classes against NumPy's, by both plans."""

import numpy as np
import pytest
import tensorflow as tf

from tfsegloss.kernels import xla
from tfsegloss.kernels.class_sums import log_sum_exp, softmax, sum_over_classes, times_matrix


@pytest.mark.parametrize("device", ["CPU", "GPU"])
@pytest.mark.parametrize("num_classes", [None, 3, 5])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_first_classes_are_summed_up(device, num_classes, compiled):
    maps = np.random.default_rng(0).normal(size=(2, 4, 3, 5))
    with xla.planned_for(device):
        total = tf.function(sum_over_classes, jit_compile=compiled)(tf.constant(maps), num_classes)
    np.testing.assert_allclose(total, maps[..., :num_classes].sum(-1), rtol=1e-12)


def test_log_sum_exp_keeps_its_digits():
    x = np.array([[1e4, 1e4 - 3, -1e4], [0, -1, -1]])
    highest, log_sum = log_sum_exp(tf.constant(x))
    np.testing.assert_array_equal(highest, [1e4, 0])
    np.testing.assert_allclose(
        log_sum, [np.log1p(np.exp(-3)), np.log1p(2 * np.exp(-1))], rtol=1e-12
    )


def test_softmax_and_its_derivatives_are_tensorflows():
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 5)))
    weights = tf.cast(tf.range(30), tf.float64)

    def first_and_second(function):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = tf.reduce_sum(function(x) * tf.reshape(weights, x.shape))
            gradient = tape.gradient(value, x)
            penalty = tf.reduce_sum(gradient**2)
        return value, gradient, outer.gradient(penalty, x)

    for ours, theirs in zip(
        first_and_second(softmax), first_and_second(tf.nn.softmax), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def test_maps_of_any_shape_times_a_matrix():
    """In a graph that knows no shape: what crashed as a product of many matrices with one."""
    random = np.random.default_rng(0)
    matrix = random.normal(size=(3, 2)).astype(np.float32)
    signature = [tf.TensorSpec([None] * 3 + [3]), tf.TensorSpec([3, 2])]
    product = tf.function(times_matrix, input_signature=signature)
    for shape in random.integers(1, 10, [200, 3]):
        maps = random.normal(size=(*shape, 3)).astype(np.float32)
        np.testing.assert_allclose(product(maps, matrix), maps @ matrix, rtol=1e-4, atol=1e-5)
