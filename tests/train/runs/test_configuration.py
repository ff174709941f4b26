"""A configuration: classes by name with their own defaults, bad options, and the way back."""

import inspect
import sys
from contextlib import suppress

import keras
import pytest
import yaml
from jsonargparse import ArgumentError

import tfsegloss
from tests.train.loop.small_trainer import two_convolutions
from tfsegloss.explain import losses_by_name
from train.common.errors import UserError
from train.runs.build import build_optimization
from train.runs.configuration import as_yaml, configuration_parser, instantiate


def parse(*arguments):
    return configuration_parser().parse_args([*arguments])


def optimizer_of(*arguments, model=None):
    config = instantiate(parse(*arguments))
    return build_optimization(config, model or two_convolutions()).optimizer


def options(optimizer):
    """All but the name, which Keras numbers."""
    return {**optimizer.get_config(), "name": None}


def test_the_default_is_sgd_of_the_deeplab_papers_under_the_schedule():
    optimizer = optimizer_of("--schedule.warmup_steps=7", "--trainer.steps=50")
    schedule = optimizer.get_config()["learning_rate"]["config"]
    assert type(optimizer) is keras.optimizers.SGD
    assert (optimizer.momentum, optimizer.nesterov, optimizer.weight_decay) == (0.9, False, 1e-4)
    assert schedule == {
        "learning_rate": 0.1,
        "steps": 50,
        "warmup_steps": 7,
        "power": 0.9,
        "warmup": "linear",
        "warmup_rate": 0.0,
        "final_rate": 0.0,
    }


def test_biases_and_batch_normalization_do_not_decay():
    layers = [keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    optimizer = optimizer_of("--optimizer=AdamW", "--optimizer.weight_decay=50", model=model)
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
    arguments = (["--config", str(path)], ["--optimizer", name, "--optimizer.learning_rate=3e-4"])
    first, second = (optimizer_of(*each) for each in arguments)
    assert options(first) == options(second)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--optimizer=Foo"], ["optimizer: no class 'Foo': expected Adadelta, "]),
        (["--optimizer=Adamm"], ["optimizer: no class 'Adamm' (did you mean Adam or "]),
        (["--loss=RMILos"], ["loss: no class 'RMILos' (did you mean RMILoss", "WeightedLosses"]),
        (["--model.backbone=mobilenetv2"], ["(did you mean mobilenet_v2 or", "resnet50, "]),
        (["--model.name=deeplabv3+"], ["model.name: no 'deeplabv3+' (did you mean deeplab_v3"]),
        (["--data.name=camvidd"], ["data.name: no 'camvidd' (did you mean camvid?)"]),
        (["--input.crop", "144", "192"], ["input.crop: ", "such as '[144, 192]'; got 144"]),
        (["--trainer.step=3"], ["--trainer.step=3"]),  # no abbreviations: which key was meant?
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
        (["--optimizer.gradient_accumulation_steps=2"], ["use --trainer.accumulation"]),
        (
            ["--optimizer.clipnorm=1", "--optimizer.clipvalue=1"],
            ["only one of clipnorm, clipvalue, global_clipnorm"],
        ),
        (["--schedule.multipliers={head: 10}"], ["'head' is found in no name", "conv2d", "bias"]),
        (["--schedule.multipliers={'(': 10}"], ["'(' is no regular expression"]),
        (["--schedule.multipliers={bias: -1}"], ["schedule.multipliers", "-1"]),
        (["--regularization.l2=-1"], ["regularization.l2", "-1"]),
        (["--regularization.weights=some"], ["regularization.weights", "kernels_but_depthwise"]),
        (["--schedule.warmup=cosine"], ["schedule.warmup", "linear", "constant"]),
        (["--optimizer=ScheduleFreeAdamW"], ["ScheduleFreeAdamW", "schedule of its own"]),
        (["--optimizer.use_ema=true"], ["optimizer.use_ema", "use --trainer.ema_momentum"]),
        (["--trainer.ema_momentum=1"], ["trainer.ema_momentum", "1"]),
        (["--trainer.precision=float8"], ["no 'float8'", "float32, bfloat16, float16"]),
        (
            ["--trainer.precision=float16", "--optimizer.loss_scale_factor=8"],
            ["optimizer.loss_scale_factor must be null with trainer.precision float16"],
        ),
        (["--optimizer=MultiOptimizer"], ["keras.optimizers.MultiOptimizer", "no learning_rate"]),
        (["--schedule.warmup_steps=300"], ["warmup_steps=300", "Lower --schedule.warmup_steps"]),
    ],
)
def test_a_bad_option_is_named(arguments, parts):
    with pytest.raises((UserError, ArgumentError)) as error:
        optimizer_of(*arguments)
    for part in parts:
        assert part in str(error.value)
    assert "keras.src" not in str(error.value)


def test_the_command_line_wins_wherever_it_stands(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("trainer: {steps: 1600, batch_size: 3}\nloss: LMPLoss\n")
    for recipe_option in (["--config", str(recipe)], [f"--config={recipe}"]):
        for arguments in (
            ["--trainer.steps=40", *recipe_option],
            [*recipe_option, "--trainer.steps=40"],
            ["--trainer.steps", "40", *recipe_option],
        ):
            values = parse(*arguments)
            assert (values.trainer.steps, values.trainer.batch_size) == (40, 3)
            assert values.loss.class_path == "tfsegloss.LMPLoss"
    other = tmp_path / "other.yaml"
    other.write_text("trainer: {batch_size: 5}\n")
    values = parse(f"--config={recipe}", "--trainer.steps=40", f"--config={other}")
    assert (values.trainer.steps, values.trainer.batch_size) == (40, 5)  # recipes: the later one


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Make a module that must not be imported; return the file that it writes if it is."""
    trace = tmp_path / "imported"
    (tmp_path / "trap_module.py").write_text(f"open({str(trace)!r}, 'w')\nclass Trap: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    return trace


CALL = "{class_path: subprocess.check_call, init_args: {args: [touch, TRACE]}}"


@pytest.mark.parametrize(
    "recipe",
    [
        "loss: trap_module.Trap",
        "loss: {class_path: trap_module.Trap}",
        "loss: {class_path: FocalLoss, init_args: {pooling: trap_module.Trap}}",
        "loss: {class_path: FocalLoss, init_args: {pooling: {class_path: trap_module.Trap}}}",
        "optimizer: trap_module.Trap",
        "optimizer: os.system",
        f"optimizer: {CALL}",
        f"loss: {CALL}",
        f"model: {{options: {{upsampling: {CALL}}}}}",
    ],
)
def test_a_recipe_imports_and_calls_nothing(tmp_path, trap, recipe):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.replace("TRACE", str(trap)))
    with suppress(UserError, ArgumentError):
        options = instantiate(parse(f"--config={path}")).model.options
        # No class but a dictionary, which `models.build` refuses.
        assert options["upsampling"]["class_path"] == "subprocess.check_call"
    assert not trap.exists()
    assert "trap_module" not in sys.modules
