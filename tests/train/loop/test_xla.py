"""Steps that XLA compiles give the losses and weights of those that it does not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.train.loop.small_trainer import (
    CLASSES,
    batches,
    deeplab_without_dropout,
    make_trainer,
    two_convolutions,
)
from train.data.input.sampling import ComplementaryWeights
from train.loop.loss_scaling import LossScale

ONE_DEVICE = tf.distribute.get_strategy()


def normalized():
    return two_convolutions(keras.layers.BatchNormalization())


def assert_same_steps(folder, make_model, loss, data, tolerance, **options):
    found = []
    for xla in (False, True):
        more = {
            "sampling_weights": ComplementaryWeights(CLASSES),
            "loss_scale": LossScale(ONE_DEVICE),
            "ema_momentum": 0.9,
        }
        trainer = make_trainer(
            ONE_DEVICE, make_model, folder, loss=loss(), xla=xla, **more, **options
        )
        losses = [float(trainer.train_step(batch)["loss"]) for batch in data]
        variables = [*trainer.model.weights, *trainer.averages.variables]
        found.append((losses, [v.numpy() for v in variables], trainer.sampling_weights.matrix))
    (plain, weights, matrix), (compiled, compiled_weights, compiled_matrix) = found
    assert compiled == pytest.approx(plain, rel=tolerance)
    for ours, theirs in zip(compiled_weights, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=tolerance)
    np.testing.assert_allclose(compiled_matrix, matrix, atol=3)  # pixels of equal best classes


@pytest.mark.parametrize("accumulation", [1, pytest.param(2, marks=pytest.mark.full)])
def test_small_steps(tmp_path, accumulation):
    loss = tfsegloss.SoftmaxCrossEntropy
    options = {"accumulation": accumulation, "tolerance": 1e-5, "data": list(batches(2, size=8))}
    assert_same_steps(tmp_path, normalized, loss, **options)


@pytest.mark.full
@pytest.mark.parametrize("name", tfsegloss.registry.LOSSES)
def test_each_loss(tmp_path, name):
    """Their own clusters within that of the step."""
    loss = tfsegloss.registry.LOSSES[name]
    data = list(batches(2, size=32))
    assert_same_steps(tmp_path, normalized, loss, data, tolerance=1e-4)


@pytest.mark.full
def test_the_real_network(tmp_path):
    """Of which a second step magnifies what the first one rounds."""
    found = []
    for xla in (False, True):
        loss = tfsegloss.SoftmaxCrossEntropy()
        trainer = make_trainer(ONE_DEVICE, deeplab_without_dropout, tmp_path, loss=loss, xla=xla)
        found.append([float(trainer.train_step(b)["loss"]) for b in batches(2, size=32)])
    (first, second), (first_compiled, second_compiled) = found
    assert first_compiled == pytest.approx(first, rel=1e-5)
    assert second_compiled == pytest.approx(second, rel=1e-2)


@pytest.mark.slow
def test_the_real_network_in_float16(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        options = {"loss": tfsegloss.SoftmaxCrossEntropy(), "loss_scale": LossScale(ONE_DEVICE)}
        trainer = make_trainer(ONE_DEVICE, deeplab_without_dropout, tmp_path, xla=True, **options)
    finally:
        keras.config.set_dtype_policy("float32")
    losses = [float(trainer.train_step(batch)["loss"]) for batch in batches(2, size=32)]
    assert np.isfinite(losses).all()
    assert trainer.step == 2
