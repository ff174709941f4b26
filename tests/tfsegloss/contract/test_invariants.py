"""What must not change a loss: the order of images or classes, ignored pixels, softmax shifts."""

import random

import hypothesis
import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.tfsegloss.examples import CLASSES, IGNORED, example
from tests.tfsegloss.steps import value_and_gradient
from tfsegloss import CenterLoss, LovaszLoss

# Derandomized: the same examples in every run. Each step starts from the same state.
examples = hypothesis.settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)

# Large enough for windows, regions and pairs of pixels, which few of the drawn ones are.
LARGE = example((2, 12, 12))


@st.composite
def batches(draw):
    """Ids `[B, H, W]` with ignored ones, and logits `[B, H, W, C]`, eighths in [-8, 8)."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))
    ids = draw(arrays.arrays(np.int32, shape, elements=st.sampled_from([0, 1, 2, IGNORED])))
    size = ids.size * CLASSES
    eighths = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.int8) // 2
    return ids, eighths.reshape(*shape, CLASSES).astype(np.float32) / 8


def assert_close(gradient, expected):
    # Affinity fields divide by 1 − p + 1e-4, which float32 knows to 1e-3 where p is near 1.
    np.testing.assert_allclose(gradient, expected, atol=1e-3 * np.abs(expected).max() + 1e-7)


def has_ties(loss, logits):
    """Whether equal errors weigh differently, by their places: rounding may change which are equal.

    The sum over the batch is the same all the same. The drawn logits, which are eighths, have many.
    """
    return isinstance(loss, LovaszLoss) and (logits * 8 == np.round(logits * 8)).all()


@examples
@hypothesis.given(batches(), st.randoms(use_true_random=False))
@hypothesis.example(LARGE, random.Random(1))
def test_the_order_of_the_images_does_not_matter(make_traced, batch, shuffler):
    ids, logits = batch
    order = shuffler.sample(range(len(ids)), len(ids))
    values, gradient = make_traced.dynamic_step(ids, logits)
    permuted, permuted_gradient = make_traced.dynamic_step(ids[order], logits[order])
    np.testing.assert_allclose(permuted.mean(), values.mean(), rtol=1e-5, atol=1e-6)
    if has_ties(make_traced(), logits):
        return
    np.testing.assert_allclose(permuted, values[order], rtol=1e-5, atol=1e-6)
    assert_close(permuted_gradient, gradient[order])


@examples
@hypothesis.given(batches(), st.permutations(range(CLASSES)))
@hypothesis.example(LARGE, [2, 0, 1])
def test_the_order_of_the_classes_does_not_matter(make_traced, batch, order):
    ids, logits = batch
    values, gradient = make_traced.dynamic_step(ids, logits)
    renamed = np.where(ids == IGNORED, IGNORED, np.argsort(order)[ids % CLASSES]).astype(np.int32)
    loss = make_traced(reduction="none")
    if getattr(loss, "class_weights", None):
        loss.class_weights = [loss.class_weights[c] for c in order]
        other_values, other_gradient = value_and_gradient(loss, renamed, logits[..., order])
    else:
        other_values, other_gradient = make_traced.dynamic_step(renamed, logits[..., order])
    # Affinity fields: the logarithm of 1 − p + 1e-4, see `assert_close`.
    np.testing.assert_allclose(other_values.mean(), values.mean(), rtol=1e-4, atol=1e-6)
    if has_ties(loss, logits):
        return
    np.testing.assert_allclose(other_values, values, rtol=1e-4, atol=1e-6)
    assert_close(other_gradient, gradient[..., order])


@examples
@hypothesis.given(
    batches(),
    arrays.arrays(
        np.float32, 16, elements=st.floats(width=32) | st.sampled_from([np.nan, np.inf, -np.inf])
    ),
)
@hypothesis.example(LARGE, np.float32([np.nan, 1e30, -np.inf]))
def test_ignored_pixels_may_hold_anything(make_traced, batch, junk):
    ids, logits = batch
    values, gradient = make_traced.dynamic_step(ids, logits)
    changed = np.where((ids == IGNORED)[..., None], np.resize(junk, logits.shape), logits)
    changed_values, changed_gradient = make_traced.dynamic_step(ids, changed)
    np.testing.assert_array_equal(changed_values, values)
    np.testing.assert_array_equal(changed_gradient, gradient)
    assert (gradient[ids == IGNORED] == 0).all()


@examples
@hypothesis.given(batches(), st.sampled_from([1, 50, 10_000]), st.integers(0, 9))
@hypothesis.example(LARGE, 10_000, 0)
def test_a_softmax_does_not_see_a_constant_added_to_a_pixel(make_traced, batch, size, seed):
    loss = make_traced()
    if loss.activation != "softmax":
        pytest.skip("sigmoids see it")
    if isinstance(loss, CenterLoss):
        pytest.skip("the logits are its features, and their centers see it")
    ids, logits = batch
    logits = np.round(logits * 512) / 512  # so that the sum is exact in float32
    constants = np.random.default_rng(seed).integers(-size, size + 1, ids.shape)
    values, gradient = make_traced.dynamic_step(ids, logits)
    shifted = logits + constants[..., None].astype(np.float32)
    shifted_values, shifted_gradient = make_traced.dynamic_step(ids, shifted)
    np.testing.assert_allclose(shifted_values.mean(), values.mean(), rtol=1e-5, atol=1e-5)
    if has_ties(loss, logits):
        return
    np.testing.assert_allclose(shifted_values, values, rtol=1e-5, atol=1e-5)
    assert_close(shifted_gradient, gradient)
