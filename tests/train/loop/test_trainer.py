"""The loop: stopping and resuming changes nothing, what is not finite is not saved."""

import errno
import json
import os
import signal
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.train.loop.small_trainer import (
    CLASSES,
    batches,
    deeplab,
    make_trainer,
    two_convolutions,
    with_memory,
)
from train.common import signals
from train.common.errors import UserError
from train.config import TrainerConfig
from train.data.input.sampling import ComplementaryWeights
from train.loop import checkpoints
from train.loop.evaluation import Scores
from train.loop.fit import fit
from train.loop.meetings import Meetings
from train.loop.schedules import PolynomialWithWarmup
from train.loop.trainer import Trainer
from train.runs.folder import MetricsFile

ONE_DEVICE = tf.distribute.get_strategy()
STEPS = 8
CONFIG = TrainerConfig(steps=STEPS, evaluate_every=4, checkpoint_every=3)


def scores():
    return Scores(np.eye(CLASSES, dtype=np.int64), ("a", "b", "c"), 1)


class Recorder(keras.callbacks.Callback):
    """Notes where each step is in its epoch, how many there were, and its losses."""

    def __init__(self):
        super().__init__()
        self.seen, self.losses = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((batch, self.model.optimizer.iterations.numpy().item()))
        self.losses.append(dict(logs))


class Run(NamedTuple):
    """A run that has come to its end."""

    folder: Path
    trainer: Trainer
    recorder: Recorder


def run(folder, data, config=CONFIG, evaluate=scores):
    """Trains on `data` from where the folder's checkpoints are; "crash" among them is one."""
    folder.mkdir(exist_ok=True)
    options = {"steps": config.steps, "sampling_weights": ComplementaryWeights(CLASSES)}
    trainer = make_trainer(ONE_DEVICE, with_memory, folder, **options)
    trainer.restore()

    def rest(first_step):
        for batch in data[first_step:]:
            if batch == "crash":
                raise RuntimeError("crash")
            yield batch

    recorder = Recorder()
    metrics = MetricsFile(folder / "metrics.jsonl", trainer.step)
    fit(trainer, rest, config, evaluate, [recorder, metrics], evaluated=metrics.last_step)
    return Run(folder, trainer, recorder)


def logged(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Train without any interruption."""
    return run(tmp_path_factory.mktemp("whole"), [*batches(STEPS)])


def assert_equal_states(ours, theirs):
    """All that the next step depends on."""
    for part in ("model", "optimizer", "loss", "sampling_weights"):
        if getattr(ours, part) is getattr(theirs, part) is None:  # no sampling by class
            continue
        pairs = zip(getattr(ours, part).variables, getattr(theirs, part).variables, strict=True)
        for one, other in pairs:
            np.testing.assert_array_equal(one, other, err_msg=part)


def test_a_crashed_run_resumes_as_if_it_had_not(whole, tmp_path):
    data = [*batches(STEPS)]
    with pytest.raises(RuntimeError, match="crash"):
        run(tmp_path, [*data[:7], "crash"])
    resumed = run(tmp_path, data)
    assert resumed.recorder.seen == [(2, 7), (3, 8)]  # from the checkpoint of step 6
    assert resumed.trainer.step == whole.trainer.step == STEPS
    assert resumed.trainer.learning_rate == whole.trainer.learning_rate == 0
    assert any(np.any(center) for center in map(np.asarray, whole.trainer.loss.variables))
    assert len(np.unique(whole.trainer.sampling_weights.weights)) == CLASSES
    assert_equal_states(resumed.trainer, whole.trainer)
    # Line by line: the losses' means are over whole epochs, though the process saw a part.
    assert logged(tmp_path) == logged(whole.folder)


def test_a_run_killed_in_an_evaluation_evaluates_first(whole, tmp_path):
    """The epoch's end is saved before, with what its steps have to say."""
    data = [*batches(STEPS)]

    class KilledError(Exception):
        pass

    def killed():
        raise KilledError

    with pytest.raises(KilledError):
        run(tmp_path, data, evaluate=killed)
    assert not (tmp_path / "metrics.jsonl").read_text()
    resumed = run(tmp_path, data)
    assert resumed.recorder.seen == [(0, 5), (1, 6), (2, 7), (3, 8)]
    assert logged(tmp_path) == logged(whole.folder)
    assert_equal_states(resumed.trainer, whole.trainer)


def test_a_run_killed_in_its_last_evaluation_evaluates_alone(whole, tmp_path):
    data, calls = [*batches(STEPS)], []

    def killed():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return scores()

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, data, evaluate=killed)
    resumed = run(tmp_path, [])
    assert resumed.recorder.seen == []
    assert logged(tmp_path) == logged(whole.folder)


def test_a_finished_run_is_left_as_it_is(whole):
    before = logged(whole.folder)
    again = run(whole.folder, [])
    assert again.recorder.seen == []
    assert logged(whole.folder) == before
    assert_equal_states(again.trainer, whole.trainer)


def test_checkpoints_are_named_by_their_steps_and_the_last_three_are_kept(whole):
    # Of the steps 3 and 6, and of the ends of both epochs.
    assert {path.stem for path in whole.folder.glob("ckpt-*.index")} == {
        "ckpt-4",
        "ckpt-6",
        "ckpt-8",
    }


def test_the_logs_of_an_epoch(whole):
    lines = logged(whole.folder)
    assert [line["step"] for line in lines] == [4, 8]
    schedule = PolynomialWithWarmup(0.05, steps=STEPS, warmup_steps=2)
    expected = [float(schedule(3)), float(schedule(7))]  # of the last steps
    np.testing.assert_allclose([line["learning_rate"] for line in lines], expected)
    for line, of_last_step in zip(lines, (whole.recorder.losses[i] for i in (3, 7)), strict=True):
        assert line["val_mean_iou"] == line["val_pixel_accuracy"] == 1
        for name in ("loss", "loss_cross_entropy", "loss_center"):
            assert line[name] == of_last_step[name]


def test_the_logged_loss_is_the_mean_of_an_epoch_s_steps(tmp_path):
    data, steps = [*batches(3)], []
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)
    train_step = trainer.train_step

    def noted(batch):
        steps.append(train_step(batch))
        return steps[-1]

    trainer.train_step = noted
    metrics = MetricsFile(tmp_path / "metrics.jsonl", 0)
    config = TrainerConfig(steps=3, evaluate_every=2)  # the second epoch is shorter
    fit(trainer, lambda step: data[step:], config, scores, [metrics])
    losses = [float(values["loss"]) for values in steps]
    assert [line["step"] for line in logged(tmp_path)] == [2, 3]
    expected = [np.mean(losses[:2]), losses[2]]
    np.testing.assert_allclose([line["loss"] for line in logged(tmp_path)], expected, rtol=1e-6)


def test_a_loss_of_one_part_is_logged_once(tmp_path):
    loss = tfsegloss.SoftmaxCrossEntropy()
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path, loss)
    assert set(trainer.train_step(next(batches(1)))) == {"loss"}


@pytest.mark.slow
def test_the_real_model_is_restored_whole(tmp_path):
    data = list(batches(2, size=32))
    trainer = make_trainer(ONE_DEVICE, deeplab, tmp_path)
    trainer.train_step(data[0])
    trainer.save()
    again = make_trainer(ONE_DEVICE, deeplab, tmp_path)
    assert again.restore()
    assert again.step == 1
    assert again.learning_rate == trainer.learning_rate
    ours, theirs = (t.train_step(data[1])["loss"] for t in (again, trainer))
    assert float(ours) == float(theirs)
    assert_equal_states(again, trainer)


def one_convolution():
    """Without a ReLU, which makes 0 of NaN on some processors."""
    return keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(CLASSES, 1)])


def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_saved(tmp_path):
    images, ids = next(batches(1))
    data = [(images, ids)] * 2 + [(images * np.nan, ids)] * 6
    trainer = make_trainer(ONE_DEVICE, one_convolution, tmp_path)
    config = TrainerConfig(steps=8, checkpoint_every=1)
    with pytest.raises(UserError, match="the loss is not finite at step 3"):
        fit(trainer, lambda step: data[step:], config, scores, [])
    assert trainer.restore()
    assert trainer.step == 2
    assert all(np.isfinite(weight).all() for weight in map(np.asarray, trainer.model.weights))


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)
    trainer.save()
    kernel = trainer.model.trainable_variables[0]
    kernel.assign(kernel * np.nan)
    with pytest.raises(UserError, match="a weight is not finite"):
        trainer.save()
    assert trainer.restore()
    assert np.isfinite(trainer.model.trainable_variables[0]).all()


def test_interrupted_by_the_keyboard_saves_the_last_step(tmp_path):
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)

    def rest(first_step):
        assert first_step == 0
        yield from batches(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(trainer, rest, TrainerConfig(steps=8), scores, [])
    again = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)
    assert again.restore()
    assert again.step == 2


@pytest.mark.parametrize("place", ["write", "steps"])
def test_a_signal_to_a_worker_that_saves_for_another_s_waits(tmp_path, monkeypatch, place):
    """Told to stop after step 2, it is signalled itself while it writes, or looks whether to."""
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)

    def told(_meetings):
        if trainer.step == 2:
            raise signals.Interrupted(signal.SIGTERM, is_second=False)

    def signalled(*arguments):
        if not signals.is_caught():
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    original = getattr(checkpoints, place)
    monkeypatch.setattr(Meetings, "raise_caught", told)
    monkeypatch.setattr(checkpoints, place, signalled)
    data = [*batches(STEPS)]
    with pytest.raises(signals.Interrupted), signals.as_interrupts():
        fit(trainer, lambda first: data[first:], CONFIG, scores, [])
    assert [path.name for path in tmp_path.glob("*.index")] == ["ckpt-2.index"]


def test_a_full_disk_at_a_signal_is_said(tmp_path, monkeypatch):
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)

    def rest(first_step):
        yield from batches(1)
        os.kill(os.getpid(), signal.SIGTERM)
        yield from batches(1)

    def flush(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints, "flush", flush)
    message = r"ckpt-2 cannot be written: .*No space left on device"
    with pytest.raises(UserError, match=message), signals.as_interrupts():
        fit(trainer, rest, TrainerConfig(steps=STEPS), scores, [])
    assert not checkpoints.steps(tmp_path)


def test_weight_decay_and_learning_rate_reach_the_weights(tmp_path):
    """One step by hand: w ← w − η·wd·w, then w ← w − η·g."""
    images, ids = next(batches(1))
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)
    before = [weight.numpy() for weight in trainer.model.trainable_weights]
    with tf.GradientTape() as tape:
        loss = tfsegloss.CenterLoss(weight=0.1)(ids, trainer.model(images))
    gradients = tape.gradient(loss, [w.value for w in trainer.model.trainable_weights])
    rate = trainer.learning_rate
    trainer.train_step((images, ids))
    for weight, old, gradient in zip(
        trainer.model.trainable_weights, before, gradients, strict=True
    ):
        np.testing.assert_allclose(
            weight, old * (1 - rate * 1e-3) - rate * gradient.numpy(), atol=1e-6
        )


def test_checkpoints_of_named_steps_and_of_the_best_scores_are_kept(tmp_path):
    ious = iter([0.9, 0.3, 0.5, 0.4])
    metrics = MetricsFile(tmp_path / "metrics.jsonl", 0)

    def evaluate():
        share = next(ious)
        return Scores(np.array([[share, 1 - share], [0, 0]]), ("a", "b"), 1)

    config = TrainerConfig(steps=8, evaluate_every=2, checkpoint_every=8, keep_at=(1, 3))
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)
    data = list(batches(8))
    fit(trainer, lambda step: data[step:], config, evaluate, [metrics], best=metrics.best_step)
    assert metrics.best_step() == 2  # which is not among the last
    assert checkpoints.steps(tmp_path) == [8, 6, 4, 3, 2, 1]


def test_a_step_to_be_kept_must_be_one():
    with pytest.raises(ValueError, match="keep_at must be steps up to trainer.steps, 8; got 9"):
        TrainerConfig(steps=8, keep_at=(2, 9))


@pytest.mark.parametrize(
    ("every", "expected"), [(None, [0, 4, 8]), (2, [0, 2, 4, 6, 8]), (3, [0, 3, 6, 9])]
)
def test_sampling_is_refreshed_by_steps_or_at_evaluations(tmp_path, monkeypatch, every, expected):
    weights, seen = ComplementaryWeights(CLASSES), []
    options = {"sampling_weights": weights, "refresh_every": every}
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path, **options)
    monkeypatch.setattr(weights, "refresh", lambda: seen.append(trainer.step))

    def step(trainer, batch):
        trainer.optimizer.iterations.assign_add(1)
        return {"loss": tf.constant(0.0)}

    monkeypatch.setattr(Trainer, "train_step", step)
    asked = []
    config = TrainerConfig(steps=10, evaluate_every=4)
    fit(trainer, lambda at: asked.append(at) or iter(range(10)), config, scores, [])
    assert trainer.step == 10
    assert seen == expected
    assert asked == sorted({*expected, 4, 8})
    assert checkpoints.steps(tmp_path) == [10, 8, 4]


def test_patience_ends_a_run_after_evaluations_without_a_better_score(tmp_path):
    ious = iter([0.3, 0.5, 0.5, 0.4, 0.9])
    metrics = MetricsFile(tmp_path / "metrics.jsonl", 0)

    def evaluate():
        share = next(ious)
        return Scores(np.array([[share, 1 - share], [0, 0]]), ("a", "b"), 1)

    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)
    data = list(batches(10))
    fit(
        trainer,
        lambda step: data[step:],
        TrainerConfig(steps=10, evaluate_every=2),
        evaluate,
        [metrics],
        best=metrics.best_step,
        is_over=lambda: metrics.evaluations_since_best() >= 2,
    )
    assert trainer.step == 8
    assert metrics.best_step() == 4  # the first of equal ones


def test_damaged_checkpoints_are_set_aside_where_training_goes_on(tmp_path):
    """Or what is saved from there on would not be the newest, nor be kept."""
    trainer = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)
    for batch in batches(5):
        trainer.train_step(batch)
        trainer.save(keep={1})
    for step in (3, 4, 5):
        (tmp_path / f"ckpt-{step}.index").write_bytes(b"")
    again = make_trainer(ONE_DEVICE, two_convolutions, tmp_path)
    assert again.restore()
    assert again.step == 1
    again.train_step(next(batches(1)))
    again.save(keep={1})
    assert checkpoints.steps(tmp_path) == [2, 1]
    assert len([*tmp_path.glob("damaged-ckpt-*")]) == 6
