"""What the configuration says of network and optimizer reaches them."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

import models
from train.common.errors import UserError
from train.config import FitConfig, ModelConfig, ScheduleConfig, TrainerConfig
from train.data.datasets.registry import SCENES
from train.runs.build import build_model, build_optimizer

CONFIG = FitConfig(trainer=TrainerConfig(steps=100))


def test_every_option_reaches_the_network(monkeypatch):
    monkeypatch.setattr(models, "build", lambda *names, **options: (names, options))
    options = {
        "backbone": "xception_65",
        "output_stride": 8,
        "weights": "some.weights.h5",
        "batch_norm_momentum": 0.7,
        "freeze_batch_norm": "all",
    }
    model = ModelConfig(name="deeplab_v3", **options, options={"dropout": 0.2})
    names, received = build_model(replace(CONFIG, model=model), SCENES)
    assert names == ("deeplab_v3",)
    assert received == {**options, "num_classes": 11, "dropout": 0.2}


def test_the_default_optimizer_follows_the_schedule():
    config = replace(CONFIG, schedule=ScheduleConfig(warmup_steps=10, power=2.0))
    optimizer = build_optimizer(config)
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 1e-4)
    for step, rate in ((0, 0.01), (10, 0.1), (55, 0.1 / 4), (100, 0)):
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(rate)


def test_biases_and_batch_normalization_do_not_decay():
    """Without a gradient, only what decays changes."""
    inputs = keras.Input((3,))
    outputs = keras.layers.BatchNormalization()(keras.layers.Dense(2)(inputs))
    variables = keras.Model(inputs, outputs).trainable_variables
    for variable in variables:
        variable.assign(np.ones(variable.shape))
    optimizer = build_optimizer(CONFIG)
    optimizer.apply([np.zeros(variable.shape, np.float32) for variable in variables], variables)
    changed = [variable.name for variable in variables if (variable.numpy() != 1).any()]
    assert changed == ["kernel"]


def test_another_optimizer():
    adam = partial(keras.optimizers.AdamW, learning_rate=0.003, weight_decay=0.02)
    optimizer = build_optimizer(replace(CONFIG, optimizer=adam))
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert optimizer.weight_decay == 0.02
    optimizer.iterations.assign(20)
    assert float(optimizer.learning_rate) == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": -1.0}, "optimizer.learning_rate must be above 0; got -1.0"),
        ({"learning_rate": 1.0, "weight_decay": -1.0}, "weight_decay must be at least 0"),
        ({"learning_rate": 1.0, "use_ema": True}, "use_ema must be false"),
        ({"learning_rate": 1.0, "momentum": 2.0}, "optimizer: "),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        build_optimizer(replace(CONFIG, optimizer=partial(keras.optimizers.SGD, **options)))


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(UserError, match="schedule: .*warmup_steps=100, steps=100"):
        build_optimizer(replace(CONFIG, schedule=ScheduleConfig(warmup_steps=100)))
