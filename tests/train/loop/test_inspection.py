"""Norms of gradients against tapes of their own; looking at them changes nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.train.loop.small_trainer import batches, make_trainer, two_convolutions, with_memory
from train.data.input.sampling import ComplementaryWeights
from train.loop.inspection import GradientNorms

pytestmark = pytest.mark.usefixtures("without_clusters")
ONE_DEVICE = tf.distribute.get_strategy()


def expected_norms(model, losses, images, ids):
    """Of each loss by its own tape."""
    norms = {}
    for name, loss in losses.items():
        with tf.GradientTape() as tape:
            value = loss(ids, model(images, training=True))
        gradients = tape.gradient(value, [v.value for v in model.trainable_variables])
        norms[name] = np.sqrt(sum((g.numpy().astype(np.float64) ** 2).sum() for g in gradients))
    return norms


def weighted():
    ssl, cross_entropy = tfsegloss.SSLLoss(name="ssl"), tfsegloss.SigmoidCrossEntropy()
    return tfsegloss.WeightedLosses({"ssl": (0.5, ssl), "bce": (2.0, cross_entropy)})


def test_norms_of_the_loss_and_of_its_parts(tmp_path):
    images, ids = next(batches(1))
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path, weighted())
    found = GradientNorms(trainer)((images, ids))
    parts = {
        "loss": weighted(),
        "ssl": tfsegloss.SSLLoss(),
        "bce": tfsegloss.SigmoidCrossEntropy(),
        "ssl/cross_entropy": tfsegloss.SSLLoss(weight=1.0),
        "ssl/structure": tfsegloss.SSLLoss(weight=0.0),
    }
    expected = expected_norms(trainer.model, parts, images, ids)
    for name, norm in expected.items():
        np.testing.assert_allclose(found.pop(f"gradient_norm/{name}"), norm, rtol=1e-4)
    assert len({*expected.values()}) > 3
    statistics = tfsegloss.SSLLoss().statistics(ids, trainer.model(images))
    for name, value in statistics.items():
        np.testing.assert_allclose(found.pop(f"statistics/ssl/{name}"), value, 1e-4, 1e-5)
    assert not found


def test_a_loss_of_one_part_has_one_norm(tmp_path):
    loss = tfsegloss.SoftmaxCrossEntropy()
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path, loss)
    assert [*GradientNorms(trainer)(next(batches(1)))] == ["gradient_norm/loss"]


@pytest.mark.full
def test_replicas_have_the_norms_of_one_device(two_replicas, tmp_path):
    """Those of the global batch, whose labels are almost all in one half."""
    found = []
    for strategy in (ONE_DEVICE, two_replicas):
        trainer = make_trainer(strategy, two_convolutions, tmp_path, weighted())
        batch = tf.data.Dataset.from_tensors(next(batches(1))).unbatch().batch(4)
        (batch,) = strategy.experimental_distribute_dataset(batch)
        norms = GradientNorms(trainer)(batch)
        found.append({k: v for k, v in norms.items() if k.startswith("gradient_norm/")})
    assert found[0].keys() == found[1].keys()
    for name, norm in found[0].items():
        np.testing.assert_allclose(found[1][name], norm, rtol=1e-4, err_msg=name)


def test_of_a_step_in_parts_the_first_is_taken(tmp_path):
    loss = tfsegloss.SoftmaxCrossEntropy()
    images, ids = next(batches(1))
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path, loss, accumulation=2)
    found = GradientNorms(trainer)((images, ids))
    expected = expected_norms(trainer.model, {"loss": loss}, images[:2], ids[:2])
    np.testing.assert_allclose(found["gradient_norm/loss"], expected["loss"], rtol=1e-5)


@pytest.mark.full
def test_a_scaled_loss_has_the_same_norm(tmp_path):
    found = []
    for factor in (None, 1024.0):
        trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path, weighted())
        trainer.optimizer.loss_scale_factor = factor
        found.append(GradientNorms(trainer)(next(batches(1))))
    for name, norm in found[0].items():
        np.testing.assert_allclose(found[1][name], norm, rtol=1e-5, err_msg=name)


def state(trainer):
    parts = trainer.model, trainer.optimizer, trainer.loss, trainer.sampling_weights
    return [np.array(variable) for part in parts for variable in part.variables]


@pytest.mark.parametrize("accumulation", [1, pytest.param(2, marks=pytest.mark.full)])
def test_looking_changes_nothing(tmp_path, accumulation):
    """Neither dropout's state, nor running statistics, nor the loss' centers, nor a step after."""
    data, after = [*batches(2)], []
    for looks in (True, False):
        keras.backend.clear_session()
        options = {"sampling_weights": ComplementaryWeights(3), "accumulation": accumulation}
        trainer = make_trainer(ONE_DEVICE, with_memory, tmp_path, **options)
        trainer.train_step(data[0])
        before = state(trainer)
        if looks:
            assert GradientNorms(trainer)(data[1])["gradient_norm/center"] > 0
            for one, other in zip(state(trainer), before, strict=True):
                np.testing.assert_array_equal(one, other)
        trainer.train_step(data[1])
        after.append(state(trainer))
    for one, other in zip(*after, strict=True):
        np.testing.assert_array_equal(one, other)
