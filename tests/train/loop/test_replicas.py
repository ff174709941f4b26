"""One device and two take the same steps."""

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

ONE_DEVICE = tf.distribute.get_strategy()


def distributed(strategy, data):
    """Return the batches, each shared among the replicas."""
    images, ids = map(np.stack, zip(*data, strict=True))
    dataset = tf.data.Dataset.from_tensor_slices((images, ids))
    return strategy.experimental_distribute_dataset(dataset)


def take_steps(strategy, make_model, data, folder, **options):
    """Take a step on each batch; return the trainer and what its steps gave."""
    trainer = make_trainer(strategy, make_model, folder, **options)
    steps = [trainer.train_step(batch) for batch in distributed(strategy, data)]
    return trainer, [{name: float(value) for name, value in step.items()} for step in steps]


def assert_two_replicas_equal_one(two_replicas, make_model, data, tmp_path, tolerance, **options):
    one, steps = take_steps(ONE_DEVICE, make_model, data, tmp_path / "one", **options)
    two, steps_of_two = take_steps(two_replicas, make_model, data, tmp_path / "two", **options)
    for ours, theirs in zip(steps_of_two, steps, strict=True):
        assert ours == pytest.approx(theirs, rel=tolerance)
    for ours, theirs in zip(two.model.weights, one.model.weights, strict=True):
        assert ours.numpy().dtype == data[0][0].dtype  # float64 where the test says so
        np.testing.assert_allclose(ours, theirs, atol=tolerance)


@pytest.mark.usefixtures("without_clusters")
def test_two_replicas_equal_one_in_float32(two_replicas, tmp_path):
    options = {"make_model": two_convolutions, "data": list(batches(3)), "tolerance": 1e-5}
    loss = tfsegloss.SoftmaxCrossEntropy()
    assert_two_replicas_equal_one(two_replicas, tmp_path=tmp_path, loss=loss, **options)


@pytest.mark.usefixtures("without_clusters")
def test_parts_are_those_of_the_global_batch(two_replicas, tmp_path):
    """Two replicas' are those that one device computes without a trainer."""
    ((images, ids),) = batches(1)
    _, (step,) = take_steps(two_replicas, two_convolutions, [(images, ids)], tmp_path)
    fresh = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)
    loss, parts = fresh.loss.value_and_parts(ids, fresh.model(images))
    expected = {"loss": loss} | {f"loss_{name}": part for name, part in parts.items()}
    assert set(step) == {"loss", "loss_cross_entropy", "loss_center"}
    assert step == pytest.approx({k: float(v) for k, v in expected.items()}, rel=1e-5)


@pytest.mark.slow
def test_two_replicas_equal_one_on_the_real_model_in_float64(two_replicas, tmp_path, float64):
    # TensorFlow resizes in float32: on some processors, later steps magnify that beyond 1e-6.
    data = list(batches(2, size=64, dtype=np.float64))
    loss = tfsegloss.RMILoss()
    options = {"make_model": deeplab_without_dropout, "data": data, "loss": loss}
    assert_two_replicas_equal_one(two_replicas, tmp_path=tmp_path, tolerance=1e-6, **options)


@pytest.mark.usefixtures("without_clusters")
def test_what_complementary_sampling_learns_is_that_of_the_global_batch(two_replicas, tmp_path):
    learnt = []
    for strategy in (ONE_DEVICE, two_replicas):
        with strategy.scope():
            weights = ComplementaryWeights(CLASSES)
        options = {"sampling_weights": weights, "loss": tfsegloss.SoftmaxCrossEntropy()}
        take_steps(strategy, two_convolutions, batches(2), tmp_path, **options)
        weights.refresh()
        learnt.append([weights.matrix.numpy(), weights.weights.numpy()])
    (matrix, shares), (of_two, shares_of_two) = learnt
    labelled = [np.count_nonzero(ids < CLASSES) for _, ids in batches(2)]
    assert matrix.sum() == pytest.approx(0.99 * labelled[0] + labelled[1])
    np.testing.assert_allclose(of_two, matrix, atol=3)  # pixels whose best two classes are equal
    np.testing.assert_allclose(shares_of_two, shares, atol=1e-2)
    assert len(np.unique(shares)) == CLASSES
