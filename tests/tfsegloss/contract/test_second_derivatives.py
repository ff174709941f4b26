"""The second derivative along a line, against differences of the first one.

What a loss takes for constant in its gradient, as SSL's weights, is constant in the second one too.
"""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.examples import CLASSES, IGNORED, example
from tests.tfsegloss.grid import grid
from tests.tfsegloss.variants import FIRST, VARIANTS

STEP = 1e-5
# By their names, those whose gradient has weights that it does not differentiate.
WITH_CONSTANT_WEIGHTS = ("SSLLoss", "WeightedLosses")


@pytest.fixture
def line():
    """Labels, and logits by their place on a line through the example's."""
    ids, logits = example()
    direction = np.random.default_rng(3).normal(size=logits.shape)
    logits, direction = (tf.constant(x, tf.float64) for x in (logits, direction))
    return tf.constant(ids), lambda place: logits + place * direction


def first_derivative(loss, line, place):
    ids, logits = line
    with tf.GradientTape() as tape:
        tape.watch(place)
        value = loss(ids, logits(place))
    return tape.gradient(value, place)


def second_derivative(loss, line):
    """At the place 0."""
    place = tf.zeros([], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(place)
        first = first_derivative(loss, line, place)
    return tape.gradient(first, place)


def difference_quotient(make, line):
    """Of fresh losses, since a backward pass may change a loss' state."""
    up, down = (first_derivative(make(), line, tf.constant(s * STEP, tf.float64)) for s in (1, -1))
    return float(up - down) / (2 * STEP)


@grid(
    lambda make: make in FIRST,
    make={n: make for n, make in VARIANTS.items() if not n.startswith(WITH_CONSTANT_WEIGHTS)},
)
def test_equals_differences(make, line, float64):
    expected = difference_quotient(make, line)
    assert float(second_derivative(make(), line)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", [n for n in VARIANTS if n.startswith("SSLLoss")])
def test_the_weights_of_ssl_are_constant(name, line, float64):
    """λ BCE″ + (1 − λ) Σ e f BCE″ / M, with BCE″ = σ(x) σ(−x)."""
    ids, logits = line
    loss = VARIANTS[name]()
    with tf.GradientTape() as tape:
        x = logits(tf.zeros([], tf.float64))
        tape.watch(x)
        value = loss(ids, x)
    by_x = tape.gradient(value, x).numpy()
    p = tf.sigmoid(x).numpy()
    valid = ids.numpy()[..., None] != IGNORED
    # The gradient is a weight times σ(x) − y, and the second derivative that weight times BCE″.
    miss = p - np.eye(CLASSES)[np.where(ids == IGNORED, 0, ids)]
    weights = np.where(valid, by_x / miss, 0)
    direction = logits(tf.ones([], tf.float64)).numpy() - x.numpy()
    expected = np.sum(weights * p * (1 - p) * direction**2)
    assert float(second_derivative(loss, line)) == pytest.approx(expected, rel=1e-9)


@grid(
    lambda make, jit_compile: make == "LMPLoss" and not jit_compile,
    make=VARIANTS,
    jit_compile=[False, True],
)
def test_graphs_equal_eager(make, jit_compile, line, float64):
    loss = make()
    loss.build(CLASSES)
    expected = float(second_derivative(make(), line))
    step = tf.function(lambda: second_derivative(loss, line), jit_compile=jit_compile)
    assert float(step()) == pytest.approx(expected, rel=1e-7)


def test_ignored_pixels_have_none(float64):
    """Not even where their logits are NaN, in a gradient penalty."""
    ids, logits = example()
    logits[ids == IGNORED] = np.nan
    for make in FIRST.values():
        x = tf.constant(logits, tf.float64)
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = make()(ids, x)
            penalty = tf.reduce_sum(tape.gradient(value, x) ** 2)
        gradient = outer.gradient(penalty, x).numpy()
        assert np.isfinite(gradient).all()
        assert not gradient[ids == IGNORED].any()
