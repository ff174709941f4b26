"""One device and two take the same steps."""

import numpy as np
import pytest
import tensorflow as tf

from tests.train.loop.small_trainer import (
    CLASSES,
    batches,
    deeplab_without_dropout,
    make_trainer,
    two_convolutions,
)
from train.data.input.sampling import ComplementaryWeights


def distributed(strategy, data):
    """The batches, each shared among the replicas."""
    images, ids = map(np.stack, zip(*data, strict=True))
    dataset = tf.data.Dataset.from_tensor_slices((images, ids))
    return strategy.experimental_distribute_dataset(dataset)


def weights_after_steps(strategy, make_model, data, folder):
    trainer = make_trainer(strategy, make_model, folder)
    losses = [float(trainer.train_step(batch)["loss"]) for batch in distributed(strategy, data)]
    return losses, [weight.numpy() for weight in trainer.model.weights]


def assert_two_replicas_equal_one(two_replicas, make_model, data, tmp_path, tolerance):
    one = weights_after_steps(tf.distribute.get_strategy(), make_model, data, tmp_path / "one")
    two = weights_after_steps(two_replicas, make_model, data, tmp_path / "two")
    np.testing.assert_allclose(two[0], one[0], rtol=tolerance)
    for ours, theirs in zip(two[1], one[1], strict=True):
        assert ours.dtype == data[0][0].dtype  # float64 where the test says so
        np.testing.assert_allclose(ours, theirs, atol=tolerance)


def test_two_replicas_equal_one_in_float32(two_replicas, tmp_path):
    data = list(batches(5))
    assert_two_replicas_equal_one(two_replicas, two_convolutions, data, tmp_path, 1e-5)


@pytest.mark.slow
def test_two_replicas_equal_one_on_the_real_model_in_float64(two_replicas, tmp_path, float64):
    data = list(batches(5, size=64, dtype=np.float64))
    assert_two_replicas_equal_one(two_replicas, deeplab_without_dropout, data, tmp_path, 1e-6)


def test_parts_are_those_of_the_global_batch(two_replicas, tmp_path):
    values = {}
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        trainer = make_trainer(strategy, two_convolutions, tmp_path)
        (batch,) = distributed(strategy, batches(1))
        values[strategy] = {k: float(v) for k, v in trainer.train_step(batch).items()}
    one, two = values.values()
    assert set(one) == {"loss", "loss_cross_entropy", "loss_region"}
    assert one == pytest.approx(two, rel=1e-5)
    assert one["loss"] == pytest.approx((one["loss_cross_entropy"] + one["loss_region"]) / 2)


def test_what_complementary_sampling_learns_is_that_of_the_global_batch(two_replicas, tmp_path):
    learnt = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            sampling_weights = ComplementaryWeights(CLASSES)
        trainer = make_trainer(
            strategy, two_convolutions, tmp_path, sampling_weights=sampling_weights
        )
        for batch in distributed(strategy, batches(2)):
            trainer.train_step(batch)
        sampling_weights.refresh()
        learnt.append([sampling_weights.matrix.numpy(), sampling_weights.weights.numpy()])
    (matrix, shares), (of_two, shares_of_two) = learnt
    labelled = [np.count_nonzero(ids < CLASSES) for _, ids in batches(2)]
    assert matrix.sum() == pytest.approx(0.99 * labelled[0] + labelled[1])
    np.testing.assert_allclose(of_two, matrix, atol=3)  # pixels whose best two classes are equal
    np.testing.assert_allclose(shares_of_two, shares, atol=1e-3)
    assert len(np.unique(shares)) == CLASSES
