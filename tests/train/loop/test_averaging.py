"""Averages of the weights: a loop in NumPy, in evaluations, and over a stop."""

import json

import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.train.loop.small_trainer import batches, make_trainer, shared, values, with_memory
from train.config import TrainerConfig
from train.loop.evaluation import Scores
from train.loop.fit import fit
from train.runs.folder import MetricsFile

ONE_DEVICE = tf.distribute.get_strategy()
STEPS = 4
MOMENTUM = 0.3  # reached at the fourth step: 2/11, 3/12, 4/13, 0.3

pytestmark = pytest.mark.usefixtures("without_clusters")


def averaging(folder, strategy=ONE_DEVICE, **options):
    """Make a trainer of a network with running statistics that are averaged too."""
    loss = tfsegloss.SoftmaxCrossEntropy()
    return make_trainer(strategy, with_memory, folder, loss=loss, ema_momentum=MOMENTUM, **options)


@pytest.mark.parametrize(
    ("replicas", "accumulation"), [(1, 1), (1, 2), pytest.param(2, 2, marks=pytest.mark.full)]
)
def test_averages_follow_the_weights(two_replicas, tmp_path, replicas, accumulation):
    strategy = two_replicas if replicas == 2 else ONE_DEVICE
    trainer = averaging(tmp_path, strategy, accumulation=accumulation)
    expected = [w.astype(float) for w in values(trainer.model.weights)]
    assert len(expected) == 8  # two kernels and biases, scale, offset, mean, variance
    for step, batch in enumerate(shared(strategy, batches(STEPS)), 1):
        trainer.train_step(batch)
        momentum = min(MOMENTUM, (1 + step) / (10 + step))
        expected = [
            momentum * average + (1 - momentum) * weight
            for average, weight in zip(expected, values(trainer.model.weights), strict=True)
        ]
    for average, by_hand, weight in zip(
        trainer.averages.variables, expected, trainer.model.weights, strict=True
    ):
        np.testing.assert_allclose(average.numpy(), by_hand, atol=1e-6)
        assert np.abs(average.numpy() - weight.numpy()).max() > 1e-5


@pytest.mark.full
def test_replicas_have_the_same_averages(two_replicas, tmp_path):
    trainer = averaging(tmp_path, two_replicas)
    for batch in shared(two_replicas, batches(2)):
        trainer.train_step(batch)
    for weight, average in zip(trainer.model.weights, trainer.averages.variables, strict=True):
        first, second = two_replicas.experimental_local_results(average)
        if weight.trainable:  # statistics are not synchronized here
            np.testing.assert_array_equal(first.numpy(), second.numpy())


def test_evaluations_see_both_and_change_neither(tmp_path):
    trainer = averaging(tmp_path)
    data, seen = list(batches(STEPS)), []

    def evaluate():
        seen.append(values(trainer.model.weights))
        share = 0.1 * len(seen)
        return Scores(np.array([[share, 1 - share], [0, 0]]), ("a", "b"), 1)

    metrics = MetricsFile(tmp_path / "metrics.jsonl", 0)
    config = TrainerConfig(steps=STEPS, evaluate_every=2)
    fit(trainer, lambda step: data[step:], config, evaluate, [metrics])
    now = values(trainer.model.weights), values(trainer.averages.variables)
    for found, expected in zip(seen[2:], now, strict=True):
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    first, last = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    for line, scores in ((first, (0.1, 0.2)), (last, (0.3, 0.4))):
        found = line["val_pixel_accuracy"], line["val_ema_pixel_accuracy"]
        assert found == pytest.approx(scores)


def test_an_interrupted_evaluation_leaves_the_weights(tmp_path):
    trainer = averaging(tmp_path)
    trainer.train_step(next(batches(1)))
    before = values([*trainer.model.weights, *trainer.averages.variables])
    with pytest.raises(KeyboardInterrupt), trainer.averages.in_use():
        raise KeyboardInterrupt
    after = values([*trainer.model.weights, *trainer.averages.variables])
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_best_is_the_best_of_the_averages(tmp_path):
    ious = iter([0.9, 0.1, 0.2, 0.8])  # of the weights, of their averages, two times
    metrics = MetricsFile(tmp_path / "metrics.jsonl", 0)

    def evaluate():
        share = next(ious)
        return Scores(np.array([[share, 1 - share], [0, 0]]), tuple("ab"), 1)

    trainer = averaging(tmp_path)
    data = list(batches(STEPS))
    config = TrainerConfig(steps=STEPS, evaluate_every=2)
    fit(trainer, lambda step: data[step:], config, evaluate, [metrics], best=metrics.best_step)
    assert metrics.best_step() == 4


def test_they_are_in_the_checkpoint(tmp_path):
    data = list(batches(STEPS))
    whole, stopped = (averaging(tmp_path / name) for name in ("whole", "stopped"))
    for batch in data:
        whole.train_step(batch)
    for batch in data[:2]:
        stopped.train_step(batch)
    stopped.save()
    resumed = averaging(tmp_path / "stopped")
    assert resumed.restore()
    for batch in data[2:]:
        resumed.train_step(batch)
    for ours, theirs in zip(resumed.averages.variables, whole.averages.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_nothing_is_averaged_unless_asked_for(tmp_path):
    assert make_trainer(ONE_DEVICE, with_memory, tmp_path).averages is None
