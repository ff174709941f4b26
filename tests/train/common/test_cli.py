"""What users see of `python -m train`: help, configuration, and one line for each mistake."""

import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.commands import TINY_RUN, assert_one_line, command


@pytest.fixture
def train(monkeypatch, capfd):
    return lambda *arguments: command(monkeypatch, capfd, "train", *arguments)


@pytest.fixture
def broken_root(scenes_root, tmp_path):
    """A copy of the scenes, to be damaged."""
    return shutil.copytree(scenes_root, tmp_path / "broken")


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
        (["fit", "--model.options={sharp: 1}"], ["deeplab_v3_plus", "atrous_rates", "sharp=1"]),
        (["fit", "--model.options={num_classes: 1}"], ["model.options", "num_classes"]),
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


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        ("--model.weights=none.weights.h5", ["model", "none.weights.h5"]),
        ("--schedule.warmup_steps=4", ["schedule", "warmup_steps=4"]),
        ("--run=setup.cfg", ["setup.cfg"]),
    ],
)
def test_a_value_that_cannot_be_is_named_before_anything_is_written(
    train, scenes_root, tmp_path, option, parts
):
    run = tmp_path / "run"
    arguments = ["fit", f"--run={run}", f"--data.root={scenes_root}", *TINY_RUN, option]
    assert_one_line(train(*arguments), *parts)
    assert not run.exists()


def truncate(root):
    path = root / "SegmentationClass" / "scene_000002.png"
    path.write_bytes(path.read_bytes()[:-40])
    return path, "cannot be decoded"


def remove(root):
    path = root / "JPEGImages" / "scene_000002.jpg"
    path.unlink()
    return path, "train.txt line 3"


def resize(root):
    path = root / "SegmentationClass" / "scene_000002.png"
    Image.open(path).crop((0, 0, 60, 48)).save(path)
    return path, "48, 64", "48, 60"


def put_id(root):
    path = root / "SegmentationClass" / "scene_000002.png"
    ids = np.array(Image.open(path))
    ids[0, :2] = 40, 41
    Image.fromarray(ids).save(path)
    return path, "found 40, 41"


@pytest.mark.parametrize("damage", [truncate, remove, resize, put_id, shutil.rmtree])
def test_bad_data_is_named_before_anything_is_written(train, broken_root, tmp_path, damage):
    parts = damage(broken_root) or ()
    run = tmp_path / "run"
    outcome = train("fit", f"--run={run}", f"--data.root={broken_root}")
    assert_one_line(outcome, *(parts or ("data.root", broken_root)))
    assert not run.exists()


def test_every_option_is_in_the_help_and_in_the_printed_configuration(train):
    text = train("fit", "--help").out
    config = yaml.safe_load(train("fit", "--print_config").out)
    for group in ("data", "input", "model", "schedule", "trainer"):
        for key in config[group]:
            assert f"--{group}.{key} " in text
    assert config["loss"]["init_args"]["region_size"] == 3


def test_recipes_are_valid(train):
    for name in ("scenes", "camvid_rmi"):
        outcome = train("fit", f"--config=train/recipes/{name}.yaml", "--print_config")
        assert outcome.status == 0
        assert yaml.safe_load(outcome.out)["run"] == f"runs/{name}"
