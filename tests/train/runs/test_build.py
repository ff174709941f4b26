"""What the configuration says of network and optimizer reaches them."""

from dataclasses import replace

import keras
import pytest

import models
from tests.train.loop.small_trainer import two_convolutions
from train.config import FitConfig, ModelConfig, ScheduleConfig, TrainerConfig
from train.data.datasets.registry import SCENES
from train.runs.build import build_model, build_optimization

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


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_precision_is_that_of_the_network_alone(monkeypatch, precision):
    monkeypatch.setattr(models, "build", lambda *names, **options: two_convolutions())
    trainer = replace(CONFIG.trainer, precision=precision)
    model = build_model(replace(CONFIG, trainer=trainer), SCENES)
    assert {layer.compute_dtype for layer in model.layers} == {precision}
    assert {v.dtype for v in model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_the_default_optimizer_follows_the_schedule():
    config = replace(CONFIG, schedule=ScheduleConfig(warmup_steps=10, power=2.0))
    optimizer = build_optimization(config, two_convolutions()).optimizer
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 1e-4)
    for step, rate in ((0, 0.01), (10, 0.1), (55, 0.1 / 4), (100, 0)):
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(rate)
