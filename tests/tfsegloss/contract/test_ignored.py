"""Ignored pixels may hold anything: predictions, probabilities, weights."""

import numpy as np
import tensorflow as tf

from tests.tfsegloss.examples import IGNORED, example
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import value_and_gradient


def at_ignored_pixels(ids, values, junk):
    ignored = (ids == IGNORED).reshape(ids.shape + (1,) * (values.ndim - ids.ndim))
    return np.where(ignored, np.float32(junk), values)


def assert_same_step(make, options, before, after):
    """See the same value and gradient, by bits, of losses that have not been moved."""
    value, gradient = before or make.expected
    changed = value_and_gradient(make(**options), *after)
    assert value == changed[0]
    np.testing.assert_array_equal(gradient, changed[1])
    ids = after[0]
    assert (gradient[ids == IGNORED] == 0).all()
    assert (gradient[ids != IGNORED] != 0).any()


@grid(lambda junk: np.isnan(junk), junk=[7.0, np.inf, -np.inf, np.nan])
def test_logits(make_variant, junk):
    ids, logits = example()
    assert_same_step(make_variant, {}, None, (ids, at_ignored_pixels(ids, logits, junk)))


@grid(lambda junk: junk == np.inf, junk=[7.0, np.inf, -np.inf, np.nan])
def test_probabilities(make, junk):
    ids, logits = example()
    p, options = tf.sigmoid(logits).numpy(), {"from_logits": False}
    before = value_and_gradient(make(**options), ids, p)
    assert_same_step(make, options, before, (ids, at_ignored_pixels(ids, p, junk)))


def test_weights(make_few):
    ids, logits = example()
    weights = np.random.default_rng(0).random(ids.shape).astype(np.float32)
    before = value_and_gradient(make_few(), ids, logits, weights)
    junk = at_ignored_pixels(ids, weights, np.nan)
    assert_same_step(make_few, {}, before, (ids, logits, junk))


def test_maps(make):
    ids, logits = example()
    maps = make().maps(ids, logits)
    np.testing.assert_array_equal(maps["valid"], ids != IGNORED)
    for name, values in make().maps(ids, at_ignored_pixels(ids, logits, np.nan)).items():
        np.testing.assert_array_equal(values, maps[name], err_msg=name)
        assert not values.numpy()[ids == IGNORED].any(), name
