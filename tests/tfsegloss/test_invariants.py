"""What must not change a loss: the order of images or classes, ignored pixels, softmax shifts."""

import hypothesis
import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import strategies as st

from .losses import CLASSES, value_and_gradient

IGNORED = 255
# Derandomized: the same examples in every run. What the fixture hands out has no state.
few_examples = hypothesis.settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)


@st.composite
def batches(draw):
    """Ids `[B, H, W]` with ignored ones, and logits `[B, H, W, C]`, eighths in [-8, 8)."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))
    ids = draw(arrays.arrays(np.int32, shape, elements=st.sampled_from([0, 1, 2, IGNORED])))
    size = ids.size * CLASSES
    eighths = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.int8) // 2
    return ids, eighths.reshape(*shape, CLASSES).astype(np.float32) / 8


@few_examples
@hypothesis.given(batches(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(make, batch, random):
    ids, logits = batch
    order = random.sample(range(len(ids)), len(ids))
    values = make(reduction="none")(ids, logits).numpy()
    permuted = make(reduction="none")(ids[order], logits[order]).numpy()
    np.testing.assert_allclose(permuted, values[order], rtol=1e-5, atol=1e-6)


@few_examples
@hypothesis.given(batches(), st.permutations(range(CLASSES)))
def test_the_order_of_the_classes_does_not_matter(make, batch, order):
    ids, logits = batch
    renamed = np.where(ids == IGNORED, IGNORED, np.argsort(order)[ids % CLASSES])
    loss = make()
    value, gradient = value_and_gradient(loss, ids, logits)
    other = make()
    if getattr(other, "class_weights", None):
        other.class_weights = [other.class_weights[c] for c in order]
    other_value, other_gradient = value_and_gradient(other, renamed, logits[..., order])
    np.testing.assert_allclose(other_value, value, rtol=1e-5, atol=1e-6)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(other_gradient, gradient[..., order], atol=1e-4 * scale + 1e-7)


@few_examples
@hypothesis.given(
    batches(),
    arrays.arrays(
        np.float32, 16, elements=st.floats(width=32) | st.sampled_from([np.nan, np.inf, -np.inf])
    ),
)
def test_ignored_pixels_may_hold_anything(make, batch, junk):
    ids, logits = batch
    changed = np.where((ids == IGNORED)[..., None], np.resize(junk, logits.shape), logits)
    value, gradient = value_and_gradient(make(), ids, logits)
    changed_value, changed_gradient = value_and_gradient(make(), ids, changed)
    assert changed_value == value
    np.testing.assert_array_equal(changed_gradient, gradient)
    assert (gradient[ids == IGNORED] == 0).all()


@few_examples
@hypothesis.given(batches(), st.integers(-20, 20), st.integers(0, 9))
def test_a_softmax_does_not_see_a_constant_added_to_a_pixel(make, batch, constant, seed):
    loss = make()
    if loss.activation != "softmax":
        pytest.skip("sigmoids see it")
    if type(loss).__name__ == "CenterLoss":
        pytest.skip("the logits are its features, and their centres see it")
    ids, logits = batch
    constants = np.random.default_rng(seed).integers(-20, 21, ids.shape) + constant
    shifted = logits + constants[..., None].astype(np.float32)  # exact in float32
    value, gradient = value_and_gradient(loss, ids, logits)
    shifted_value, shifted_gradient = value_and_gradient(make(), ids, shifted)
    np.testing.assert_allclose(shifted_value, value, rtol=1e-5, atol=1e-5)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(shifted_gradient, gradient, atol=1e-3 * scale + 1e-6)
