"""A configuration: classes by name with their own defaults, bad options, and the way back."""

import inspect

import keras
import pytest
import yaml
from jsonargparse import ArgumentError

import tfsegloss
from tfsegloss.explain import losses_by_name
from train.common.errors import UserError
from train.runs.build import build_optimizer
from train.runs.configuration import as_yaml, configuration_parser, instantiate


def parse(*arguments):
    return configuration_parser().parse_args([*arguments])


def optimizer_of(*arguments):
    return build_optimizer(instantiate(parse(*arguments)))


def options(optimizer):
    """All but the name, which Keras numbers."""
    return {**optimizer.get_config(), "name": None}


def test_the_default_is_sgd_of_the_deeplab_papers_under_the_schedule():
    optimizer = optimizer_of("--schedule.warmup_steps=7", "--trainer.steps=50")
    schedule = optimizer.get_config()["learning_rate"]["config"]
    assert type(optimizer) is keras.optimizers.SGD
    assert (optimizer.momentum, optimizer.nesterov, optimizer.weight_decay) == (0.9, False, 1e-4)
    assert schedule == {"learning_rate": 0.1, "steps": 50, "warmup_steps": 7, "power": 0.9}


def test_biases_and_batch_normalization_do_not_decay():
    layers = [keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    optimizer = optimizer_of("--optimizer=AdamW", "--optimizer.weight_decay=50")
    optimizer.build(model.trainable_variables)
    before = [variable.numpy() for variable in model.trainable_variables]
    for variable in model.trainable_variables:
        variable.assign(variable + 1)
    optimizer.apply([keras.ops.zeros_like(v) for v in model.trainable_variables])
    moved = {
        variable.path.split("/")[-1]: bool((variable.numpy() != old + 1).any())
        for variable, old in zip(model.trainable_variables, before, strict=True)
    }
    assert moved == {"kernel": True, "bias": False, "gamma": False, "beta": False}


@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop", "keras.optimizers.Lion", "Lamb"])
def test_another_optimizer_has_its_own_defaults(name):
    optimizer = optimizer_of(f"--optimizer={name}")
    own = getattr(keras.optimizers, name.split(".")[-1])()
    assert type(optimizer) is type(own)
    schedule = options(optimizer).pop("learning_rate")["config"]
    assert schedule["learning_rate"] == pytest.approx(float(own.learning_rate))
    assert {**options(optimizer), "learning_rate": 0} == {**options(own), "learning_rate": 0}


@pytest.mark.parametrize("name", [*losses_by_name()])
def test_a_loss_has_its_own_defaults(name):
    values = parse(f"--loss={name}").loss.init_args
    parameters = inspect.signature(getattr(tfsegloss, name)).parameters
    assert {key: values[key] for key in parameters} == {
        key: parameter.default for key, parameter in parameters.items()
    }


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("optimizer: AdamW", ("AdamW", 0.001)),
        ("optimizer: {learning_rate: 0.3}", ("SGD", 0.3)),
        ("optimizer: {class_path: Adam, init_args: {learning_rate: 0.3}}", ("Adam", 0.3)),
    ],
)
def test_a_recipe_names_it_in_short_or_in_full(tmp_path, recipe, expected):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{recipe}\n")
    optimizer = optimizer_of(f"--config={path}")
    learning_rate = options(optimizer)["learning_rate"]["config"]["learning_rate"]
    assert (type(optimizer).__name__, learning_rate) == expected


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Lamb"])
def test_what_is_written_is_read_again(tmp_path, name):
    values = parse(f"--optimizer={name}", "--optimizer.learning_rate=3e-4", "--loss=FocalLoss")
    path = tmp_path / "config.yaml"
    path.write_text(as_yaml(values))
    assert yaml.safe_load(path.read_text())["optimizer"]["class_path"] == f"keras.optimizers.{name}"
    again = configuration_parser().parse_path(path)
    assert as_yaml(again) == as_yaml(values)
    first, second = (build_optimizer(instantiate(v)) for v in (values, again))
    assert options(first) == options(second)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--optimizer=Foo"], ["optimizer", "Foo"]),
        (["--optimizer.momentun=1"], ["optimizer", "momentun", "keras.optimizers.SGD"]),
        (["--optimizer.momentum=x"], ["optimizer.momentum", "number", "'x'"]),
        (["--optimizer.momentum=2"], ["optimizer", "momentum", "[0, 1]"]),
        (["--optimizer.learning_rate=0"], ["optimizer.learning_rate", "above 0"]),
        (["--optimizer.learning_rate=.nan"], ["optimizer.learning_rate", "nan"]),
        (["--optimizer.weight_decay=-1"], ["optimizer.weight_decay", "-1"]),
        (["--optimizer.learning_rate=null"], ["optimizer.learning_rate", "None"]),
        (["--optimizer.learning_rate=true"], ["optimizer.learning_rate", "True"]),
        (["--optimizer.learning_rate=[1]"], ["optimizer.learning_rate", "[1]"]),
        (["--optimizer.weight_decay=[1]"], ["optimizer.weight_decay", "[1]"]),
        (["--optimizer.clipnorm=-1"], ["optimizer.clipnorm", "above 0", "-1"]),
        (["--optimizer.gradient_accumulation_steps=2"], ["gradient_accumulation_steps", "null"]),
        (["--optimizer=ScheduleFreeAdamW"], ["ScheduleFreeAdamW", "schedule of its own"]),
        (["--optimizer.use_ema=true"], ["optimizer.use_ema", "false"]),
        (["--optimizer=MultiOptimizer"], ["keras.optimizers.MultiOptimizer", "no learning_rate"]),
        (["--schedule.warmup_steps=300"], ["schedule", "warmup_steps=300"]),
    ],
)
def test_a_bad_option_is_named(arguments, parts):
    with pytest.raises((UserError, ArgumentError)) as error:
        optimizer_of(*arguments)
    for part in parts:
        assert part in str(error.value)
    assert "keras.src" not in str(error.value)
