"""Steps in float16 and bfloat16: infinite gradients are skipped, and counted."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsegloss
from tests.train.loop.small_trainer import batches, make_trainer, shared, values, with_memory
from train.common.errors import UserError
from train.loop.loss_scaling import LossScale
from train.loop.optimization import Group, optimizer_of_groups

ONE_DEVICE = tf.distribute.get_strategy()

pytestmark = pytest.mark.usefixtures("without_clusters")


@pytest.fixture
def float16():
    """Layers that are made in one test compute in float16."""
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def scaled(folder, strategy=ONE_DEVICE, initial=2.0**15, **options):
    with strategy.scope():
        loss_scale = LossScale(strategy, initial)
    loss = tfsegloss.SoftmaxCrossEntropy()
    return make_trainer(strategy, with_memory, folder, loss=loss, loss_scale=loss_scale, **options)


def are_equal(ours, theirs):
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_scale_is_halved_at_infinity_and_doubled_after_steps_without(two_replicas, replicas):
    """On two replicas one infinite share is enough."""
    strategy = two_replicas if replicas == 2 else ONE_DEVICE
    with strategy.scope():
        loss_scale = LossScale(strategy, 8.0, steps_until_doubled=3)
    taken = []

    @tf.function
    def step(gradient):
        def of_replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            is_last = number == replicas - 1
            return [tf.where(is_last, gradient, 1.0), None]

        def update():
            tf.py_function(lambda: taken.append(True), [], [])

        def skip():
            tf.py_function(lambda: taken.append(False), [], [])

        loss_scale.step(strategy.run(of_replica), update, skip)

    found = []
    for gradient in (1.0, np.inf, np.nan, 1.0, 1.0, 1.0, 1.0, -np.inf, 1.0):
        step(tf.constant(gradient))
        found.append(loss_scale.logs()["loss_scale"])
    assert found == [8, 4, 2, 2, 2, 4, 4, 2, 2]
    assert taken == [True, False, False, True, True, True, True, False, True]
    assert loss_scale.logs()["skipped_steps"] == 3


@pytest.mark.usefixtures("float16")
@pytest.mark.parametrize(
    ("replicas", "accumulation"), [(1, 1), (1, 2), pytest.param(2, 1, marks=pytest.mark.full)]
)
def test_an_overflow_is_skipped_and_training_goes_on(
    two_replicas, tmp_path, replicas, accumulation
):
    strategy = two_replicas if replicas == 2 else ONE_DEVICE
    trainer = scaled(tmp_path, strategy, 2.0**24, accumulation=accumulation)
    before, moved, losses = values(trainer.model.trainable_weights), [], []
    for batch in shared(strategy, batches(20)):
        losses.append(float(trainer.train_step(batch)["loss"]))
        after = values(trainer.model.trainable_weights)
        moved.append(not are_equal(before, after))
        before = after
    skipped = moved.count(False)
    assert 1 <= skipped < 20
    assert moved == [False] * skipped + [True] * (20 - skipped)
    assert trainer.step == 20  # a skipped step counts
    assert trainer.loss_scale.logs() == {
        "loss_scale": 2.0 ** (24 - skipped),
        "skipped_steps": skipped,
    }
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_without_overflow_a_scale_changes_nothing(tmp_path):
    """In float32, to the last bit: it is a power of 2."""
    plain = make_trainer(ONE_DEVICE, with_memory, tmp_path, tfsegloss.SoftmaxCrossEntropy())
    trainer = scaled(tmp_path)
    for batch in batches(3):
        for each in (plain, trainer):
            each.train_step(batch)
    assert are_equal(values(trainer.model.weights), values(plain.model.weights))


@pytest.mark.usefixtures("float16")
def test_a_resumed_run_is_one_that_was_not_stopped(tmp_path):
    data = list(batches(8))
    options = {"initial": 2.0**19, "ema_momentum": 0.9}
    whole, stopped = (scaled(tmp_path / name, **options) for name in ("whole", "stopped"))
    for batch in data:
        whole.train_step(batch)
    for batch in data[:2]:
        stopped.train_step(batch)
    stopped.save()
    resumed = scaled(tmp_path / "stopped", ema_momentum=0.9)  # its own first scale is no matter
    assert resumed.restore()
    for batch in data[2:]:
        resumed.train_step(batch)
    assert resumed.loss_scale.logs() == whole.loss_scale.logs()
    assert whole.loss_scale.logs()["skipped_steps"] > 0
    for part in ("model", "averages"):
        ours, theirs = (values(getattr(each, part).variables) for each in (resumed, whole))
        assert are_equal(ours, theirs), part


def test_a_skipped_step_counts_in_each_group_of_weights(tmp_path):
    """Whose schedules would run apart."""
    trainer = make_trainer(ONE_DEVICE, with_memory, tmp_path)
    first, *others = trainer.model.trainable_variables
    groups = [Group(1.0, True, [first]), Group(2.0, True, others)]
    grouped = type(trainer)(
        strategy=ONE_DEVICE,
        model=trainer.model,
        loss=tfsegloss.SoftmaxCrossEntropy(),
        optimizer=optimizer_of_groups(lambda factor: keras.optimizers.SGD(0.1 * factor), groups),
        folder=tmp_path,
        schedule=lambda step: 0.1,
        loss_scale=LossScale(ONE_DEVICE, np.inf),
    )
    grouped.train_step(next(batches(1)))
    optimizers = [grouped.optimizer, *grouped.optimizer.optimizers]
    assert [int(each.iterations.numpy()) for each in optimizers] == [1, 1, 1]


def test_steps_are_not_skipped_for_ever():
    loss_scale = LossScale(ONE_DEVICE, 2.0**-14)
    loss_scale.check(7)
    loss_scale.step([tf.constant(np.nan)], lambda: None, lambda: None)
    with pytest.raises(UserError, match="not finite in float16 at step 8, whatever"):
        loss_scale.check(8)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_bfloat16_needs_no_scale(tmp_path, accumulation):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trainer = make_trainer(ONE_DEVICE, with_memory, tmp_path, accumulation=accumulation)
    finally:
        keras.config.set_dtype_policy("float32")
    losses = [float(trainer.train_step(batch)["loss"]) for batch in batches(12)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert {v.dtype for v in trainer.model.weights} == {"float32"}
