"""RMI's kernel against its formula, by both plans, and when maps do not fill the last step."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.examples import CLASSES, example
from tfsegloss import RMILoss
from tfsegloss.core.targets import encode_targets
from tfsegloss.kernels import region_mutual_information as kernel
from tfsegloss.kernels import xla
from tfsegloss.losses.rmi import region_mutual_information


def value_and_gradient(function, targets, logits):
    logits = tf.constant(logits, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = function(targets, logits)
    return values, tape.gradient(values, logits, tf.constant([1.0, 3.0], tf.float64))


@pytest.mark.parametrize(
    ("device", "maps_at_once"), [("CPU", 1), ("CPU", 4), ("CPU", 100), ("GPU", 1)]
)
@pytest.mark.parametrize("region_size", [1, 3])
def test_equals_the_formula_by_every_plan(monkeypatch, device, maps_at_once, region_size):
    ids, logits = example((2, 9, 8))
    monkeypatch.setattr(kernel, "PIXELS_AT_ONCE", maps_at_once * 4 * 4)
    options = {"region_size": region_size, "downsample_factor": 2}
    loss = RMILoss(**options)
    targets = encode_targets(tf.constant(ids), CLASSES, dtype=tf.float64)
    with xla.planned_for(device):
        value, gradient = value_and_gradient(
            lambda targets, x: loss.terms(targets, x, None)["region"], targets, logits
        )
    expected, expected_gradient = value_and_gradient(
        lambda targets, x: region_mutual_information(targets, x, **options), targets, logits
    )
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    scale = abs(expected_gradient.numpy()).max()
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-12 * scale)
    assert not gradient.numpy()[ids == 255].any()


@pytest.mark.parametrize("device", ["CPU", pytest.param("GPU", marks=pytest.mark.full)])
def test_in_a_cluster_for_each_device_it_is_the_same(device):
    y, p = map(tf.constant, np.random.default_rng(0).random((2, 2, 6, 7, 3)))

    def step(p):
        with tf.GradientTape() as tape:
            tape.watch(p)
            values = kernel.region_values(y, p, 2, 5e-4, 1e-8)
        return values, tape.gradient(values, p, tf.constant([1.0, 3.0], p.dtype))

    expected = step(p)
    unknown_batch = [tf.TensorSpec([None, *p.shape[1:]], p.dtype)]
    with xla.planned_for(device):
        actual = tf.function(step, input_signature=unknown_batch)(p)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
