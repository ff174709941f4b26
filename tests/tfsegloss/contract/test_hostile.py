"""Hostile inputs in a graph, where each loss is its own XLA cluster, and compiled as a whole."""

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.tfsegloss.contract.test_values import LOW_PRECISION, hostile
from tests.tfsegloss.losses_under_test import CLASSES, LOSSES, VARIANTS, step_of

MAKERS = {
    **LOSSES,
    # The defaults, under which small images have neither pairs nor regions.
    "affinity_field_default": tfsegloss.AffinityFieldLoss,
    "rmi_default": tfsegloss.RMILoss,
}
CASES = [
    pytest.param(name, compiled, dtype, id=f"{name}-{mode}-{dtype.name}")
    for name in MAKERS
    for mode, compiled in {"graph": False, "xla": True}.items()
    # Every loss is computed in float32; the compiler sees other types only outside of its formula.
    for dtype in [tf.float32] + (LOW_PRECISION if name not in VARIANTS else [])
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "compiled", "dtype"), CASES)
def test_hostile_input_gives_finite_value_and_gradient(name, compiled, dtype):
    loss = MAKERS[name]()
    loss.build(CLASSES)
    step = tf.function(step_of(loss), jit_compile=compiled)
    for case, ids, logits in hostile():
        value, gradient = step(tf.constant(ids), tf.cast(logits, dtype))
        assert np.isfinite(value), case
        assert gradient.dtype == dtype
        assert tf.reduce_all(tf.math.is_finite(tf.cast(gradient, tf.float32))), case
        if case == "all ignored":
            assert not tf.reduce_any(gradient != 0), case
