"""The loop: one device and two take the same steps; stopping and resuming changes nothing."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import tfsegloss
from train.config import TrainerConfig
from train.data.palette import IGNORED
from train.errors import UserError
from train.evaluation import Scores
from train.run_folder import MetricsFile
from train.schedules import PolynomialWithWarmup
from train.trainer import Trainer

CLASSES = 3


def two_convolutions():
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(CLASSES, 3, padding="same"),
        ]
    )


def deeplab(**options):
    return models.build("deeplab_v3_plus", backbone="mobilenet_v2", classes=CLASSES, **options)


def deeplab_without_dropout():
    """Replicas draw dropout independently of each other: no step of one device has their masks."""
    return deeplab(dropout=0.0)


def batches(count, size=32, dtype=np.float32):
    """Batches of four whose first two images have almost no labels."""
    random = np.random.default_rng(0)
    for _ in range(count):
        images = random.uniform(0, 255, [4, size, size, 3]).astype(dtype)
        ids = random.integers(0, CLASSES, [4, size, size]).astype(np.uint8)
        ids[:2][random.random([2, size, size]) < 0.95] = IGNORED
        yield images, ids


def make_trainer(strategy, make_model, folder, loss=None, steps=20):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        optimizer = keras.optimizers.SGD(
            PolynomialWithWarmup(0.05, steps=steps, warmup_steps=2),
            momentum=0.9,
            weight_decay=1e-3,
        )
        loss = loss or tfsegloss.RMILoss()
        return Trainer(strategy, make_model(), loss, optimizer, folder)


def weights_after_steps(strategy, make_model, data, folder):
    trainer = make_trainer(strategy, make_model, folder)
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(data),
        output_signature=tuple(tf.TensorSpec(x.shape, x.dtype) for x in data[0]),
    )
    losses = [
        float(trainer.train_step(batch)["loss"])
        for batch in strategy.experimental_distribute_dataset(dataset)
    ]
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
    data = tf.data.Dataset.from_tensors(next(batches(1)))
    values = {}
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        trainer = make_trainer(strategy, two_convolutions, tmp_path)
        (batch,) = strategy.experimental_distribute_dataset(data)
        values[strategy] = {k: float(v) for k, v in trainer.train_step(batch).items()}
    one, two = values.values()
    assert set(one) == {"loss", "loss_cross_entropy", "loss_region"}
    assert one == pytest.approx(two, rel=1e-5)
    assert one["loss"] == pytest.approx((one["loss_cross_entropy"] + one["loss_region"]) / 2)


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
