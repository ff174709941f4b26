"""Holds a kernel against its formula: value and gradient, by every plan."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.examples import CLASSES, IGNORED, example
from tests.tfsegloss.grid import grid
from tfsegloss.core.targets import encode_targets
from tfsegloss.kernels import row_blocks, xla

# 19 rows are three blocks, of which the last is not full, once a block may have 8 rows alone.
SHAPE = (2, 19, 6)
JUNK = [np.nan, np.inf, -np.inf, 1e30, 7.0]
# Eager, and as clusters for either device.
cases = grid(
    lambda plan, dtype, dense: (
        (plan, dtype, dense)
        in [
            ("eager", "float64", True),
            ("CPU", "float32", False),
            ("GPU", "float64", False),
        ]
    ),
    plan={"eager": None, "CPU": "CPU", "GPU": "GPU"},
    dtype={"float64": tf.float64, "float32": tf.float32},
    dense=[False, True],
)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of few rows, so that a small image has several."""
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1)


def small_example(dense, multi_label=False, shape=SHAPE):
    """Targets in float64 and logits, with junk where ignored."""
    labels, logits = example(shape)
    random = np.random.default_rng(1)
    ignored = labels == IGNORED
    logits[ignored] = np.resize(JUNK, [ignored.sum(), CLASSES])
    if dense:
        shares = random.dirichlet([1.0] * CLASSES, shape)
        labels = (shares > 0.3) * 1.0 if multi_label else shares
        labels[ignored] = IGNORED
    return encode_targets(tf.constant(labels), CLASSES, dtype=tf.float64), logits


def assert_agree(kernel, formula, targets, logits, *, plan=None, dtype=tf.float64):
    """Compare functions of targets and logits: their values, and a gradient by the logits."""
    expected, expected_gradient = _outputs(formula, targets, tf.constant(logits, tf.float64), None)
    actual, gradient = _outputs(kernel, targets, tf.constant(logits, dtype), plan)
    # e of SSL divides by 0.01 and more: float32 keeps four digits of it.
    relative = 1e-10 if dtype == tf.float64 else 2e-4
    for value, right in zip(actual, expected, strict=True):
        assert value.dtype == dtype or not value.dtype.is_floating
        _assert_close(value, right, relative)
    _assert_close(gradient, expected_gradient, relative)
    assert gradient.numpy().any()
    assert not gradient.numpy()[~targets.valid.numpy()].any()


def _assert_close(actual, expected, relative):
    expected = expected.numpy()
    scale = max(abs(expected).max(), 0.01)
    np.testing.assert_allclose(actual, expected, rtol=relative, atol=relative * scale)


def _outputs(function, targets, x, plan):
    """Return what a function does, and the gradient of a sum in which each number has a weight."""

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            values = tf.nest.flatten(function(targets, x))
            weights = [
                tf.random.stateless_normal(tf.shape(v), [i, 7], dtype=tf.float64)
                for i, v in enumerate(values)
            ]
            total = tf.add_n(
                [
                    tf.reduce_sum(tf.cast(w, v.dtype) * v)
                    for w, v in zip(weights, values, strict=True)
                    if v.dtype.is_floating
                ]
            )
        return values, tape.gradient(total, x)

    if plan is None:
        return step(x)
    with xla.planned_for(plan):
        return tf.function(step)(x)
