"""Holds a kernel against its formula: value and gradient, in float64."""

import numpy as np
import tensorflow as tf

from tfsegloss.core.targets import encode_targets

IGNORED = -1
KINDS = ["ids", "soft"]


def example(kind, num_classes, hostile=False):
    """Targets with ignored pixels, and logits `[2, 3, 4, C]`; some huge, some very sure."""
    random = np.random.default_rng(0)
    shape = (2, 3, 4)
    x = 2 * random.normal(size=(*shape, num_classes))
    ids = random.integers(0, max(num_classes, 2), shape)
    ignored = random.random(shape) < 0.2
    if hostile:
        x[0] = np.where(x[0] > 0, 1e4, -1e4)
        x[1] = np.where(np.arange(num_classes) == ids[1][..., None], 50.0, -50.0)
        x[1, 0] *= -1
    truth = ids
    if kind == "soft":  # they sum to less than 1, which the formulas allow
        truth = 0.9 * random.dirichlet(np.ones(num_classes), shape)
    truth = np.where(ignored[..., None] if kind == "soft" else ignored, IGNORED, truth)
    targets = encode_targets(
        tf.constant(truth), num_classes, ignore_class=IGNORED, dtype=tf.float64
    )
    return targets, x, ignored


def assert_equal(kernel, formula, targets, x, ignored, compiled=False):
    """Compare; the kernel sees NaN at ignored pixels, and has a gradient of exactly 0 there."""
    junk = np.where(ignored[..., None], np.nan, x)
    call = tf.function(_value_and_gradient, jit_compile=compiled) if compiled else None
    actual, actual_gradient = (call or _value_and_gradient)(kernel, targets, tf.constant(junk))
    expected, expected_gradient = _value_and_gradient(formula, targets, tf.constant(x))
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(actual_gradient, expected_gradient, rtol=1e-10, atol=1e-14)
    assert not actual.numpy()[ignored].any()
    assert not actual_gradient.numpy()[ignored].any()


def _value_and_gradient(function, targets, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = function(targets, x)
    upstream = tf.reshape(1 + tf.range(tf.size(values), dtype=x.dtype), tf.shape(values))
    return values, tape.gradient(values, x, upstream / 7)
