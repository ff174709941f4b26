"""Hostile inputs in a graph, where each loss is its own XLA cluster, and compiled as a whole."""

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss

from .losses import CLASSES, KINDS, LOSSES, step_of
from .test_contract import LOW_PRECISION, hostile

# The defaults, under which small images have neither pairs nor regions; and every pooling.
MAKERS = {
    **{name: LOSSES[name] for name in (*KINDS, "sigmoid_minkowski", "softmax_topk")},
    "affinity_field": tfsegloss.AffinityFieldLoss,
    "rmi": tfsegloss.RMILoss,
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [tf.float32, *LOW_PRECISION], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("name", MAKERS)
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
