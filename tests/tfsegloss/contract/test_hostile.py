"""Inputs that break careless losses: eagerly, and in clusters and compiled as a whole."""

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.tfsegloss.examples import CLASSES, IGNORED, example, hostile_examples
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import step_of, value_and_gradient
from tests.tfsegloss.variants import FEW, FIRST, VARIANTS

DTYPES = {"float32": tf.float32, "float16": tf.float16, "bfloat16": tf.bfloat16}
DEFAULTS = {
    # Under which small images have neither pairs nor regions.
    "AffinityFieldLoss/default": tfsegloss.AffinityFieldLoss,
    "RMILoss/default": tfsegloss.RMILoss,
}
MAKERS = {**VARIANTS, **DEFAULTS}


def assert_finite(step, dtype):
    for case, ids, logits in hostile_examples():
        value, gradient = step(tf.constant(ids), tf.cast(logits, dtype))
        assert np.isfinite(value), case
        assert gradient.dtype == dtype
        assert tf.reduce_all(tf.math.is_finite(tf.cast(gradient, tf.float32))), case
        if case == "all ignored":
            assert not tf.reduce_any(gradient != 0), case


# Every loss is computed in float32: other types are cast before any formula sees them.
@grid(lambda make, dtype: dtype == "float32" or make in FEW, make=MAKERS, dtype=DTYPES)
def test_value_and_gradient_are_finite(make, dtype):
    assert_finite(step_of(make()), dtype)


@pytest.mark.full
@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in MAKERS for dtype in DTYPES if dtype == "float32" or name in FIRST],
)
def test_value_and_gradient_are_finite_in_graphs(name, dtype, compiled):
    loss = MAKERS[name]()
    loss.build(CLASSES)
    assert_finite(tf.function(step_of(loss), jit_compile=compiled), DTYPES[dtype])


# Their formulas have means, distances or interpolations of logits.
NEED_FINITE_LOGITS = {n: make for n, make in VARIANTS.items() if make().needs_finite_logits}
MASKING = {n: make for n, make in VARIANTS.items() if n not in NEED_FINITE_LOGITS}


@pytest.mark.parametrize("dense", [False, True], ids=["ids", "dense"])
@grid(lambda make: make in FIRST, make={n: m for n, m in MASKING.items() if "smoothed" not in n})
def test_a_class_masked_by_minus_infinity_is_a_very_unlikely_one(make, dense):
    """Smoothing, which gives every class a share, makes it infinite, as in Keras."""
    ids, logits = example()
    valid = ids != IGNORED
    other = np.eye(CLASSES, dtype=bool)[(np.where(valid, ids, 0) + 1) % CLASSES]
    masked = other & (np.arange(ids.shape[1]) % 3 == 0)[:, None, None]
    y_true = np.where(valid[..., None], np.eye(CLASSES)[np.where(valid, ids, 0)], IGNORED)
    y_true = y_true.astype("float32") if dense else ids
    steps = [
        value_and_gradient(make(), y_true, np.where(masked, logit, logits).astype("float32"))
        for logit in (-np.inf, -1e4)
    ]
    for ours, expected in zip(*steps, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)


@grid(lambda make: make in FIRST, make=NEED_FINITE_LOGITS)
def test_a_masked_class_is_an_error_where_the_formula_has_no_value(make):
    ids, logits = example()
    logits[ids == IGNORED] = -np.inf  # where nothing counts it may stand
    assert np.isfinite(make()(ids, logits))
    logits[ids == 0, 1] = -np.inf
    for loss in (make(), make() + make()):
        message = f"needs finite logits.* at {np.sum(ids == 0)} labelled pixels"
        with pytest.raises(ValueError, match=message):
            loss(ids, logits)
