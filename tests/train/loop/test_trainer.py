"""The loop: stopping and resuming changes nothing, what is not finite is not saved."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.train.loop.small_trainer import CLASSES, batches, deeplab, make_trainer, two_convolutions
from train.common.errors import UserError
from train.config import TrainerConfig
from train.loop.evaluation import Scores
from train.loop.schedules import PolynomialWithWarmup
from train.runs.folder import MetricsFile


def test_a_loss_of_one_part_is_logged_once(tmp_path):
    loss = tfsegloss.SoftmaxCrossEntropy()
    trainer = make_trainer(tf.distribute.get_strategy(), two_convolutions, tmp_path, loss)
    assert set(trainer.train_step(next(batches(1)))) == {"loss"}


def scores():
    return Scores(np.eye(CLASSES, dtype=np.int64), ("a", "b", "c"), 1)


class Recorder(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((batch, self.model.optimizer.iterations.numpy().item()))


def run(folder, data, stop_after=None, steps=8):
    """Trains on `data` from where the folder's checkpoints are; a crash after some steps."""
    folder.mkdir(exist_ok=True)
    trainer = make_trainer(tf.distribute.get_strategy(), two_convolutions, folder, steps=steps)
    trainer.restore()

    def rest(first_step):
        for step, batch in enumerate(data[first_step:], start=first_step):
            if step == stop_after:
                raise RuntimeError("crash")
            yield batch

    config = TrainerConfig(steps=steps, evaluate_every=4, checkpoint_every=3)
    recorder = Recorder()
    trainer.fit(
        rest, config, scores, [recorder, MetricsFile(folder / "metrics.jsonl", trainer.step)]
    )
    return trainer, recorder


def logged(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_crashed_run_resumes_as_if_it_had_not(tmp_path):
    data = list(batches(8))
    whole, _ = run(tmp_path / "whole", data)
    with pytest.raises(RuntimeError, match="crash"):
        run(tmp_path / "crashed", data, stop_after=7)
    resumed, recorder = run(tmp_path / "crashed", data)
    assert recorder.seen == [(2, 7), (3, 8)]  # from the checkpoint of step 6
    assert resumed.step == whole.step == 8
    assert resumed.learning_rate == whole.learning_rate == 0
    for ours, theirs in zip(resumed.model.weights, whole.model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [line["step"] for line in logged(tmp_path / "crashed")] == [4, 8]


@pytest.mark.slow
def test_the_real_model_is_restored_whole(tmp_path):
    data = list(batches(2))
    trainer = make_trainer(tf.distribute.get_strategy(), deeplab, tmp_path)
    trainer.train_step(data[0])
    trainer.save()
    again = make_trainer(tf.distribute.get_strategy(), deeplab, tmp_path)
    assert again.restore()
    assert again.step == 1
    assert again.learning_rate == trainer.learning_rate
    ours, theirs = (t.train_step(data[1])["loss"] for t in (again, trainer))
    assert float(ours) == float(theirs)
    for ours, theirs in zip(again.model.weights, trainer.model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(again.optimizer.variables, trainer.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_saved(tmp_path):
    images, ids = next(batches(1))
    data = [(images, ids)] * 2 + [(images * np.nan, ids)] * 6
    with pytest.raises(UserError, match="the loss is not finite at step 3"):
        run(tmp_path, data)
    trainer, _ = run(tmp_path, [(images, ids)] * 8)
    assert all(np.isfinite(weight).all() for weight in map(np.asarray, trainer.model.weights))


def test_interrupted_by_the_keyboard_saves_the_last_step(tmp_path, monkeypatch):
    data = list(batches(8))
    trainer = make_trainer(tf.distribute.get_strategy(), two_convolutions, tmp_path)

    def rest(first_step):
        assert first_step == 0
        yield from data[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(rest, TrainerConfig(steps=8), scores, [])
    again = make_trainer(tf.distribute.get_strategy(), two_convolutions, tmp_path)
    assert again.restore()
    assert again.step == 2


def test_interrupted_in_an_evaluation_evaluates_again(tmp_path):
    data = list(batches(8))

    def interrupted():
        raise KeyboardInterrupt

    trainer = make_trainer(tf.distribute.get_strategy(), two_convolutions, tmp_path, steps=8)
    config = TrainerConfig(steps=8, evaluate_every=4, checkpoint_every=3)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(lambda step: data[step:], config, interrupted, [])
    run(tmp_path, data)
    assert [line["step"] for line in logged(tmp_path)] == [4, 8]


def test_a_finished_run_is_left_as_it_is(tmp_path):
    data = list(batches(6))
    run(tmp_path, data, steps=6)  # the last epoch is shorter than the others
    before = logged(tmp_path)
    assert [line["step"] for line in before] == [4, 6]
    run(tmp_path, data, steps=6)
    assert logged(tmp_path) == before


def test_the_logged_learning_rate_is_the_last_steps(tmp_path):
    run(tmp_path, list(batches(8)))
    schedule = PolynomialWithWarmup(0.05, steps=8, warmup_steps=2)
    expected = [float(schedule(3)), float(schedule(7))]
    np.testing.assert_allclose([line["learning_rate"] for line in logged(tmp_path)], expected)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    trainer = make_trainer(tf.distribute.get_strategy(), two_convolutions, tmp_path)
    trainer.save()
    kernel = trainer.model.trainable_variables[0]
    kernel.assign(kernel * np.nan)
    with pytest.raises(UserError, match="a weight is not finite"):
        trainer.save()
    assert trainer.restore()
    assert np.isfinite(trainer.model.trainable_variables[0]).all()


def test_weight_decay_and_learning_rate_reach_the_weights(tmp_path):
    """One step by hand: w ← w − η·wd·w, then w ← w − η·g."""
    images, ids = next(batches(1))
    trainer = make_trainer(tf.distribute.get_strategy(), two_convolutions, tmp_path)
    before = [weight.numpy() for weight in trainer.model.trainable_weights]
    with tf.GradientTape() as tape:
        loss = trainer.loss(ids, trainer.model(images))
    gradients = tape.gradient(loss, [w.value for w in trainer.model.trainable_weights])
    rate = trainer.learning_rate
    trainer.train_step((images, ids))
    for weight, old, gradient in zip(
        trainer.model.trainable_weights, before, gradients, strict=True
    ):
        np.testing.assert_allclose(
            weight, old * (1 - rate * 1e-3) - rate * gradient.numpy(), atol=1e-6
        )
