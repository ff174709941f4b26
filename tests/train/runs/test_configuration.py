"""Configurations: each class has its own defaults, and what a run's folder keeps is the whole."""

import keras
import pytest
import yaml

from train.common.errors import UserError
from train.runs.configuration import as_yaml, configuration_parser, instantiate


def parsed(*arguments):
    return configuration_parser().parse_args([*arguments])


def test_the_defaults():
    config = instantiate(parsed())
    assert type(config.loss).__name__ == "RMILoss"
    optimizer = config.optimizer()
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 1e-4)


def test_another_optimizer_has_its_own_defaults():
    config = instantiate(parsed("--optimizer=Adam", "--optimizer.beta_1=0.8"))
    optimizer = config.optimizer()
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert float(optimizer.learning_rate) == pytest.approx(0.001)
    assert (optimizer.beta_1, optimizer.weight_decay) == (0.8, None)


def test_the_yaml_gives_the_same_configuration_again(tmp_path):
    values = parsed("--optimizer=AdamW", "--loss=FocalLoss", "--loss.gamma=3", "--trainer.steps=7")
    text = as_yaml(values)
    assert "keras.src" not in text  # a private name
    assert yaml.safe_load(text)["optimizer"]["class_path"] == "keras.optimizers.AdamW"
    (tmp_path / "config.yaml").write_text(text)
    again = configuration_parser().parse_path(tmp_path / "config.yaml")
    assert as_yaml(again) == text
    assert instantiate(again).loss.gamma == 3


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--optimizer.learning_rate=fast", "optimizer.learning_rate must be a number; got 'fast'"),
        ("--loss.region_size=0", "region_size.*at least 1"),
    ],
)
def test_a_value_that_a_class_refuses(option, message):
    with pytest.raises(UserError, match=message):
        instantiate(parsed(option))
