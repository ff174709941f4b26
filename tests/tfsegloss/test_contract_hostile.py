"""Hostile inputs in a graph, where each loss is its own XLA cluster, and compiled as a whole."""

import numpy as np
import pytest
import tensorflow as tf

from .losses import CLASSES, LOSSES, VARIANTS
from .test_contract import hostile

MODES = {
    "graph": (False, tf.float32),
    "graph in float16": (False, tf.float16),
    "graph in bfloat16": (False, tf.bfloat16),
    "xla": (True, tf.float32),
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", sorted(set(LOSSES) - VARIANTS))
def test_hostile_input_gives_finite_value_and_gradient(name, mode):
    compiled, dtype = MODES[mode]
    loss = LOSSES[name]()
    loss.build(CLASSES)

    @tf.function(jit_compile=compiled)
    def step(ids, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(ids, logits)
        return value, tape.gradient(value, logits)

    for case, ids, logits in hostile():
        value, gradient = step(tf.constant(ids), tf.cast(logits, dtype))
        assert np.isfinite(value), case
        assert gradient.dtype == dtype
        assert tf.reduce_all(tf.math.is_finite(tf.cast(gradient, tf.float32))), case
        if case == "all ignored":
            assert not tf.reduce_any(gradient != 0), case
