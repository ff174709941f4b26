"""The sums of the overlap losses against the formula, eagerly and in a cluster."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.examples import CLASSES, IGNORED, example, soft_targets
from tests.tfsegloss.steps import step_of
from tfsegloss import TverskyLoss
from tfsegloss.core.targets import encode_targets
from tfsegloss.losses.overlap import tversky


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("dense", [False, True])
def test_value_and_gradient_are_those_of_the_formula(activation, per_image, dense, float64):
    ids, logits = example((2, 5, 7))
    if dense:
        ids = np.where((ids == IGNORED)[..., None], IGNORED, soft_targets(ids.shape))
    ids, logits = tf.constant(ids), tf.constant(logits, tf.float64)
    targets = encode_targets(ids, CLASSES, dtype=tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        axis = (1, 2) if per_image else (0, 1, 2)
        formula = tf.reduce_mean(tversky(targets, logits, activation=activation, axis=axis))
    expected = tape.gradient(formula, logits)
    step = step_of(TverskyLoss(activation=activation, per_image=per_image))
    for form in (step, tf.function(step)):
        value, gradient = form(ids, logits)
        np.testing.assert_allclose(value, formula, rtol=1e-12)
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-15)
