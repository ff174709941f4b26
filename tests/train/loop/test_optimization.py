"""What reaches the weights, against loops in NumPy of a few steps."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
import tfsegloss
from tests.train.loop.small_trainer import batches, two_convolutions
from train.common.errors import UserError
from train.config import SGD, FitConfig, RegularizationConfig, ScheduleConfig, TrainerConfig
from train.loop.optimization import group_variables
from train.loop.trainer import Trainer
from train.runs.build import build_optimization

ONE_DEVICE = tf.distribute.get_strategy()
STEPS, RATE, MOMENTUM = 4, 0.05, 0.9
LOSS = tfsegloss.SoftmaxCrossEntropy()


def trainer_of(config, folder, strategy=ONE_DEVICE):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = two_convolutions()
        built = build_optimization(config, model)
        return Trainer(
            strategy=strategy,
            model=model,
            loss=LOSS,
            optimizer=built.optimizer,
            folder=folder,
            schedule=built.schedule,
            rules=built.rules,
            accumulation=config.trainer.accumulation,
        )


def configuration(schedule=None, regularization=None, trainer=None, **optimizer):
    options = {"learning_rate": RATE, "momentum": MOMENTUM, "weight_decay": None} | optimizer
    return FitConfig(
        optimizer=type(SGD)(keras.optimizers.SGD, **options),
        schedule=replace(ScheduleConfig(warmup_steps=0, power=1.0), **schedule or {}),
        regularization=RegularizationConfig(**regularization or {}),
        trainer=replace(TrainerConfig(steps=STEPS), **trainer or {}),
    )


def gradient(trainer, batch):
    """Of the loss alone, by the trainable weights."""
    images, ids = batch
    with tf.GradientTape() as tape:
        loss = LOSS(ids, trainer.model(images))
    variables = [v.value for v in trainer.model.trainable_variables]
    return [g.numpy().astype(float) for g in tape.gradient(loss, variables)]


def assert_follows(
    trainer,
    change=lambda gradients, *_: gradients,
    multiplier=lambda path: 1.0,
    decay=lambda path: 0.0,
    data=None,
    atol=1e-5,
):
    """See that SGD with momentum moves each weight as it is written here.

    Args:
        trainer: Whose steps are taken.
        change: Makes what momentum is given of the gradients, the weights and their names.
        multiplier: Of the learning rate of a weight's name.
        decay: That is not in the gradient, of a weight's name.
        data: The batches of the steps.
        atol: How far a weight may be off.
    """
    variables = trainer.model.trainable_variables
    paths = [v.path for v in variables]
    weights = [v.numpy().astype(float) for v in variables]
    velocities = [np.zeros_like(w) for w in weights]
    for step, batch in enumerate(data or batches(STEPS)):
        rate = RATE * (1 - step / STEPS)
        for i, g in enumerate(change(gradient(trainer, batch), weights, paths)):
            factor = rate * multiplier(paths[i])
            velocities[i] = MOMENTUM * velocities[i] - factor * g
            weights[i] = weights[i] * (1 - factor * decay(paths[i])) + velocities[i]
        trainer.train_step(batch)
        for v, w in zip(variables, weights, strict=True):
            np.testing.assert_allclose(v.numpy(), w, atol=atol, err_msg=v.path)


def is_kernel(path):
    return path.endswith("kernel")


@pytest.mark.parametrize(("weights", "parts"), [("kernels", 1), ("all", 1), ("kernels", 2)])
def test_l2_goes_through_the_momentum_as_in_the_papers(tmp_path, weights, parts):
    def add(gradients, values, paths):
        decays = (weights == "all" or is_kernel(path) for path in paths)
        return [g + 0.5 * w * d for g, w, d in zip(gradients, values, decays, strict=True)]

    config = configuration(
        regularization={"l2": 0.5, "weights": weights}, trainer={"accumulation": parts}
    )
    assert_follows(trainer_of(config, tmp_path), add)


def test_the_optimizers_decay_is_beside_it(tmp_path):
    trainer = trainer_of(configuration(weight_decay=0.5), tmp_path)
    assert_follows(trainer, decay=lambda path: 0.5 * is_kernel(path))


def test_l2_is_ten_times_as_strong_as_decay():
    """With no other gradient: weights 0.576 and 0.942 times what they were (rate 0.1, 60 steps)."""
    left = []
    for options in ({"regularization": {"l2": 0.01}}, {"weight_decay": 0.01}):
        config = configuration(**options, learning_rate=0.1, schedule={"power": 0.0})
        model = two_convolutions()
        built = build_optimization(config, model)
        kernel = model.trainable_variables[0]
        before = kernel.numpy()
        built.optimizer.build(model.trainable_variables)
        for _ in range(60):
            nothing = [tf.zeros_like(v.value) for v in model.trainable_variables]
            changed = built.rules(nothing, model.trainable_variables, lambda x: x)
            built.optimizer.apply(changed, model.trainable_variables)
        left.append(np.linalg.norm(kernel.numpy()) / np.linalg.norm(before))
    assert left == pytest.approx([0.576, 0.942], abs=1e-3)


@pytest.mark.parametrize("parts", [1, 2])
def test_multipliers_change_the_rates(tmp_path, parts):
    """The last pattern that is found counts; their decay follows."""
    multipliers = {"conv2d": 10, "bias": 20, "^no_such|conv2d.*bias$": 2}
    config = configuration(
        {"multipliers": multipliers}, trainer={"accumulation": parts}, weight_decay=0.1
    )
    trainer = trainer_of(config, tmp_path)
    assert_follows(
        trainer,
        multiplier=lambda path: 10 if is_kernel(path) else 2,
        decay=lambda path: 0.1 * is_kernel(path),
    )
    assert trainer.step == STEPS
    assert trainer.learning_rate == 0  # without a multiplier


def test_groups_keep_the_scale_of_the_loss(tmp_path):
    config = configuration({"multipliers": {"bias": 2}}, loss_scale_factor=8.0)
    trainer = trainer_of(config, tmp_path)
    assert trainer.optimizer.scale_loss(1.0) == 8
    assert_follows(trainer, multiplier=lambda path: 1 if is_kernel(path) else 2)


def test_zero_freezes(tmp_path):
    config = configuration({"multipliers": {"kernel": 0}}, {"l2": 0.5})
    trainer = trainer_of(config, tmp_path)
    kernels = [v for v in trainer.model.variables if is_kernel(v.path)]
    before = [v.numpy() for v in kernels]
    assert [v.path.split("/")[-1] for v in trainer.model.trainable_variables] == ["bias", "bias"]
    assert_follows(trainer)
    for v, old in zip(kernels, before, strict=True):
        np.testing.assert_array_equal(v, old)


def test_all_frozen_is_refused():
    with pytest.raises(UserError, match="schedule.multipliers freezes every weight"):
        build_optimization(configuration({"multipliers": {".": 0}}), two_convolutions())


def test_a_run_of_groups_is_restored(tmp_path):
    config = configuration({"multipliers": {"bias": 20}})
    trainer = trainer_of(config, tmp_path)
    first, second = batches(2)
    trainer.train_step(first)
    trainer.save()
    again = trainer_of(config, tmp_path)
    assert again.restore()
    assert again.step == 1
    for each in (trainer, again):
        each.train_step(second)
    for ours, theirs in zip(again.model.weights, trainer.model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


CLIPPINGS = {
    "clipnorm": lambda gs, limit: [g * min(1, limit / np.linalg.norm(g)) for g in gs],
    "clipvalue": lambda gs, limit: [np.clip(g, -limit, limit) for g in gs],
    "global_clipnorm": lambda gs, limit: [
        g * min(1, limit / np.sqrt(sum((x**2).sum() for x in gs))) for g in gs
    ],
}


@pytest.mark.parametrize(
    ("kind", "parts"), [*((kind, 1) for kind in CLIPPINGS), ("global_clipnorm", 2)]
)
def test_clipping(tmp_path, kind, parts):
    limit = 0.02
    config = configuration(trainer={"accumulation": parts}, **{kind: limit})
    trainer = trainer_of(config, tmp_path)
    assert_follows(trainer, lambda gradients, *_: CLIPPINGS[kind](gradients, limit))


def test_four_parts_of_two_images_make_the_step_of_eight(tmp_path):
    """Every other part has almost no labels: a mean of the parts' gradients would be far off."""
    pairs = zip(*[batches(2 * STEPS)] * 2, strict=True)
    data = [[np.concatenate(parts) for parts in zip(*pair, strict=True)] for pair in pairs]
    trainer = trainer_of(configuration(trainer={"accumulation": 4}), tmp_path)
    assert_follows(trainer, data=data, atol=1e-6)


@pytest.mark.usefixtures("without_clusters")
@pytest.mark.parametrize(
    "kind",
    [
        "multipliers",
        "global_clipnorm",
        *(pytest.param(kind, marks=pytest.mark.full) for kind in ("l2", "clipnorm", "clipvalue")),
    ],
)
def test_two_replicas_have_the_rules_of_one(two_replicas, tmp_path, kind):
    """Keras would clip each replica's share by itself."""
    if kind == "l2":
        config = configuration(regularization={"l2": 0.5})
    elif kind == "multipliers":
        config = configuration({"multipliers": {"bias": 20}})
    else:
        config = configuration(**{kind: 0.02})
    weights = []
    for strategy in (ONE_DEVICE, two_replicas):
        trainer = trainer_of(config, tmp_path, strategy)
        for images, ids in batches(STEPS):
            dataset = tf.data.Dataset.from_tensors((images, ids)).unbatch().batch(4)
            (batch,) = strategy.experimental_distribute_dataset(dataset)
            trainer.train_step(batch)
        weights.append([v.numpy() for v in trainer.model.weights])
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_groups_of_a_real_network():
    model = models.build("deeplab_v3_plus", backbone="mobilenet_v2", num_classes=3)
    multipliers = {"^(aspp|decoder|logits)": 10, "^logits/bias": 20}
    groups = group_variables(model, multipliers, "kernels_but_depthwise")
    names = {
        (group.multiplier, group.is_decayed): {v.path for v in group.variables} for group in groups
    }
    assert names.keys() == {(1, True), (1, False), (10, True), (10, False), (20, False)}
    assert names[20, False] == {"logits/bias"}
    assert "logits/kernel" in names[10, True]
    assert "expanded_conv_depthwise/kernel" in names[1, False]
    assert "Conv1/kernel" in names[1, True]
    assert sum(len(group.variables) for group in groups) == len(model.trainable_variables)
