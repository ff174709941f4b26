"""Eager mode, graphs and XLA, and every type of number give what the formula gives."""

import numpy as np
import tensorflow as tf

from tests.tfsegloss.examples import CLASSES, example
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import reusable_step, value_and_gradient
from tests.tfsegloss.variants import FEW, VARIANTS


def assert_equals_eager(make, step):
    value, gradient = step(*example())
    np.testing.assert_allclose(value, make.expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradient, make.expected[1], atol=1e-6)


# The kernels' own tests hold every one of them, as a cluster too, against its formula.
@grid(lambda make: make in FEW, make=VARIANTS)
def test_xla_equals_eager(make):
    """The formula as it is in a cluster, and all that is around it."""
    assert_equals_eager(make, make.compiled_step)


def test_a_graph_with_clusters_equals_eager(make_few):
    assert_equals_eager(make_few, reusable_step(make_few()))


def test_a_tape_around_a_graph(make_few):
    ids, logits = example()
    loss = make_few()
    loss.build(CLASSES)
    _, actual = value_and_gradient(tf.function(loss.__call__), ids, logits)
    np.testing.assert_allclose(actual, make_few.expected[1], atol=1e-6)


def test_dynamic_shapes(make_traced):
    for shape in [(2, 13, 11), (1, 1, 1), (3, 9, 20)]:
        ids, logits = example(shape)
        values, gradient = make_traced.dynamic_step(ids, logits)
        loss = make_traced(reduction="none")
        expected, expected_gradient = value_and_gradient(loss, ids, logits)
        np.testing.assert_allclose(values, expected, rtol=1e-5)
        scale = abs(expected_gradient).max()
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-4 * scale)


@grid(lambda dtype: dtype == "float16", dtype=["float16", "bfloat16"])
def test_low_precision_logits_are_computed_in_float32(make, dtype):
    ids, logits = example()
    logits = tf.cast(logits, dtype)
    value, gradient = value_and_gradient(make(), ids, logits)
    expected, expected_gradient = value_and_gradient(make(), ids, tf.cast(logits, tf.float32))
    assert value == expected
    assert gradient.dtype == logits.dtype.as_numpy_dtype
    np.testing.assert_allclose(
        gradient.astype(np.float32), expected_gradient, atol=0.01 * abs(expected_gradient).max()
    )


def test_float64_is_computed_in_float64(make, float64):
    """A change that float32 does not know changes the value."""
    ids, logits = example()
    logits = logits.astype(np.float64)
    value, moved = (make()(ids, x) for x in (logits, logits * (1 + 1e-10)))
    assert value.dtype == tf.float64
    assert value != moved
    np.testing.assert_allclose(value, moved, rtol=1e-6)


@grid(lambda make: make in FEW, make=VARIANTS)
def test_a_vectorized_map_equals_one_image_after_the_other(make):
    ids, logits = example()
    loss = make(reduction="none")
    each = tf.vectorized_map(lambda image: loss(image[0][None], image[1][None]), (ids, logits))
    expected = [loss(ids[i : i + 1], logits[i : i + 1]) for i in range(len(ids))]
    np.testing.assert_allclose(each, expected, rtol=1e-5)
