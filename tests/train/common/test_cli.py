"""What users see of `python -m train`: help, configuration, and one line for each mistake."""

import signal
from pathlib import Path

import pytest
import yaml

from tests.commands import assert_one_line
from train.commands import recipes
from train.common.signals import Interrupted

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["fit", "--trainer.stepz=3"], ["trainer.stepz"]),
        (["fit", "--trainer.steps=many"], ["trainer.steps", "int", "many"]),
        (["fit", "--data.name=voc"], ["data.name", "scenes", "camvid", "voc"]),
        (["fit", "--loss=Dice"], ["loss", "Dice"]),
        (["fit", "--loss.sharpness=3"], ["loss", "sharpness"]),
        (["fit", "--loss.region_size=0"], ["region_size", "at least 1"]),
        (["fit", "--loss.reduction=none"], ["loss.reduction", "none"]),
        (["fit", "--loss.ignore_class=11"], ["loss", "255"]),
        (["fit", "--loss.from_logits=false"], ["loss.from_logits"]),
        (["fit", "--loss=SegmentationLoss"], ["loss", "activation"]),
        (["fit", "--loss=SoftmaxCrossEntropy", "--loss.class_weights=[1]"], ["loss", "11", "1"]),
        (["fit", "--trainer.seed=99999999999"], ["trainer.seed", "99999999999"]),
        (["fit", "--trainer.replicas=0"], ["trainer.replicas", "0"]),
        (["fit", "--input.scale=[2.0,0.5]"], ["input.scale", "2.0, 0.5"]),
        (["fit", "--model.backbone=vgg"], ["model.backbone", "vgg", "mobilenet_v2", "resnet101"]),
        (["fit", "--model.output_stride=7"], ["model.output_stride", "7", "8, 16"]),
        (["fit", "--model.freeze_batch_norm=some"], ["model.freeze_batch_norm", "all", "some"]),
        (["fit", "--config=none.yaml"], ["config", "none.yaml"]),
        (["fly"], ["fly", "fit"]),
        ([], ["subcommand", "fit"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if value else "nothing",
)
def test_a_wrong_argument_is_named(train, arguments, parts):
    assert_one_line(train(*arguments), *parts)


def test_an_unknown_key_of_a_recipe_is_named(train, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("trainer:\n  stepz: 3\n")
    assert_one_line(train("fit", f"--config={recipe}"), "trainer.stepz")


def test_every_option_is_in_the_help_and_in_the_printed_configuration(train):
    text = train("fit", "--help").out
    config = yaml.safe_load(train("fit", "--print_config").out)
    for group in ("data", "input", "model", "schedule", "trainer"):
        for key in config[group]:
            assert f"--{group}.{key} " in text
    assert config["loss"]["init_args"]["region_size"] == 3


def test_recipes_are_valid(train):
    for name in ("scenes", "camvid_rmi", "own"):
        outcome = train("fit", f"--config={ROOT}/train/recipes/{name}.yaml", "--print_config")
        assert outcome.status == 0
        assert yaml.safe_load(outcome.out)["run"] == f"runs/{name}"


@pytest.mark.parametrize(
    ("stop", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (Interrupted(signal.SIGINT, is_second=False), 130, "interrupted"),
        (Interrupted(signal.SIGHUP, is_second=True), 129, "ended by SIGHUP"),
        (Interrupted(signal.SIGTERM, is_second=False, words="told to stop"), 143, "told to stop"),
    ],
)
def test_a_signal_ends_a_command_with_its_status_and_words(train, monkeypatch, stop, status, words):
    def run(values):
        raise stop

    monkeypatch.setattr(recipes, "run", run)
    outcome = train("recipes")
    assert (outcome.status, outcome.err) == (status, f"{words}\n")
