"""The recipes of the papers' tables: each can be read, is listed, and fits together."""

import math
import re
import shlex
from collections import Counter

import keras
import pytest

import models
import tfsegloss
from models.commands.import_checkpoint import import_parser
from tests.commands import assert_one_line
from train.commands.recipes import FOLDER, read_rows
from train.common.errors import UserError
from train.loop.trainer import Trainer
from train.runs import begin
from train.runs.build import build_optimization
from train.runs.configuration import as_yaml, configuration_parser, instantiate

ROWS = [*read_rows()]
RECIPES = [*dict.fromkeys(row.recipe for row in ROWS)]
FIRST_STAGES = {name for name in RECIPES if name.endswith("_stage1")}


def parse(name):
    return configuration_parser().parse_args(["--config", str(FOLDER / f"{name}.yaml")])


def config_of(name):
    return instantiate(parse(name))


def test_every_row_of_the_papers_has_one():
    tables = Counter(row.table for row in ROWS if row.recipe not in FIRST_STAGES)
    assert tables == {
        **{"LAD table 1": 5, "LAD table 2": 6},
        **{"LMP table 1": 12, "LMP section 5.2": 3, "LMP table 2": 5, "LMP table 3a": 2},
        **{"LMP table 3b": 2, "LMP table 4": 5},
        **{"SSL table 1": 4, "SSL table 2, DeepLabV3": 12, "SSL table 2, DeepLabV3+": 6},
        **{"SSL table 3": 14, "SSL table 4": 2, "SSL table 5": 6, "SSL table 6": 7},
        **{"RMI table 1a": 4, "RMI table 1b": 4, "RMI table 2": 4, "RMI table 3a": 7},
        **{"RMI table 3b": 8, "RMI table 4": 6},
    }
    assert len({(row.table, row.row) for row in ROWS}) == len(ROWS)
    assert all(row.row for row in ROWS)
    scores = [row.mean_iou for row in ROWS if row.mean_iou is not None]
    assert (min(scores), max(scores)) == (58.50, 80.63)


def test_every_recipe_of_the_papers_is_listed_under_its_own():
    papers = Counter(name.split("/")[0] for name in RECIPES if name not in FIRST_STAGES)
    assert papers == {"lad": 11, "lmp": 22, "rmi": 26, "ssl": 44}
    assert len(FIRST_STAGES) == 37
    for row in ROWS:
        assert row.table.split(" ")[0] == row.recipe.split("/")[0].upper()
        assert (row.mean_iou is None) == (row.recipe in FIRST_STAGES)


# What is not as in the paper, by the recipes it is true of.
DIFFERENCES = {
    "lad/": "MS-COCO",
    "lmp/": "the mean of three checkpoints",
    r"lmp/city_(p\d|m\d|base_plus)|lmp/voc_(lmp|base_plus)": "which share of the crops is drawn",
    "ssl/": "the paper's two GPUs",
    r"ssl/(a_|.*ssl\d)": "read as a sum over the classes (Eq. 1)",
    "rmi/": "bicubically",
    "rmi/camvid": "twelve classes",
}


@pytest.mark.parametrize(("recipes", "difference"), DIFFERENCES.items())
def test_what_is_not_as_in_the_paper_is_said(recipes, difference):
    said = [row.differs for row in ROWS if re.match(recipes, row.recipe)]
    assert said
    assert all(difference in differs for differs in said)


# The small network's weights are not called after a head.
NO_HEAD = "--schedule.multipliers={bias: 20}"
# Of each paper, for what is the same in all.
SAMPLE = [
    "lad/t1_k3",
    "lmp/city_p1.3",
    "lmp/city_median_frequency",
    "ssl/v3p_ssl3",
    "ssl/v3p_ssl3_stage1",
    "ssl/city_ce",
    "rmi/a_int4",
    "rmi/camvid_v3p_rmi",
]


@pytest.mark.parametrize(
    "name",
    [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.full) for name in RECIPES],
)
def test_each_can_be_read_and_has_a_folder_of_its_own(name):
    values = parse(name)
    config = instantiate(values)
    assert str(config.run) == f"runs/{name.replace('/', '_')}"
    own = (config.paper.table, config.paper.row, config.paper.mean_iou)
    also = [(each["table"], each["row"], each["mean_iou"]) for each in config.paper.also]
    listed = [(row.table, row.row, row.mean_iou) for row in ROWS if row.recipe == name]
    assert [own, *also] == listed
    assert config.base is None
    assert "base: null" in as_yaml(values)
    assert (config.init_from is not None) == (f"{name}_stage1" in FIRST_STAGES)
    if config.init_from:
        assert str(config.init_from) == f"{config.run}_stage1"


# What the model zoo of TensorFlow's DeepLab calls them.
ARCHIVES = {
    "resnet101_beta": "resnet_v1_101_2018_05_04",
    "xception_65": "deeplabv3_xception_2018_01_04",
}
WITH_FILES = [
    path for path in FOLDER.glob("*/base_*.yaml") if "\n  weights: weights/" in path.read_text()
]


@pytest.mark.parametrize("base", WITH_FILES, ids=lambda base: f"{base.parent.name}/{base.stem}")
def test_a_base_says_how_its_first_weights_are_made(base):
    text = base.read_text()
    command = re.search(r"import-checkpoint (CHECKPOINT (?:.*\\\n#)*.*)\n", text)[1]
    made = import_parser().parse_args(shlex.split(command.replace("\\\n#", "")))
    config = config_of(f"{base.parent.name}/{base.stem}")
    assert f"{ARCHIVES[made.backbone]}.tar.gz unpacks to" in text.replace("\n# ", " ")
    assert (made.backbone, str(made.output)) == (config.model.backbone, config.model.weights)
    assert made.partial


def test_first_weights_that_are_not_there_are_named_with_what_makes_them(train):
    outcome = train("fit", f"--config={FOLDER}/rmi/v3p_rmi.yaml")
    file = "weights/resnet101_beta_imagenet.weights.h5"
    assert_one_line(outcome, file, "`python -m models import-checkpoint` makes one")


def test_lad():
    config = config_of("lad/t1_k3")
    assert (config.loss.kernel_size, config.loss.pooling.k) == (5, 3)
    assert (config.trainer.steps, config.trainer.batch_size) == (1000, 2)
    assert config.model.options == {"upsampling": "deconvolution"}


def test_lmp():
    config = config_of("lmp/city_p1.7")
    assert isinstance(config.loss, tfsegloss.LMPLoss)
    assert (config.loss.p, config.loss.fraction) == (1.7, 0.25)
    assert config.trainer.keep_at == (150_000, 160_000, 165_000)
    assert config.input.sampling.strategy == "complementary"
    alone = config_of("lmp/voc_median_frequency")
    assert alone.class_weights == "median_frequency"
    assert alone.input.sampling.strategy == "uniform"


def test_the_two_stages_of_ssl():
    first, second = config_of("ssl/v3_ssl7_stage1"), config_of("ssl/v3_ssl7")
    assert (first.data.train_split, second.data.train_split) == ("trainaug", "train")
    assert (first.trainer.steps, second.trainer.steps) == (30_000, 20_000)
    assert (first.model.freeze_batch_norm, second.model.freeze_batch_norm) == (False, True)
    assert second.model.weights is None
    assert first.loss.window_size == second.loss.window_size == 7
    rates = [(0, 0.001), (100, 0.007 * (1 - 100 / 30_000) ** 0.9)], [(0, 1e-4), (100, 4.978e-4)]
    for config, expected in zip((first, second), rates, strict=True):
        schedule = build_optimization(config, small()).schedule
        for step, rate in expected:
            assert float(schedule(step)) == pytest.approx(rate, rel=1e-3)


def small():
    layers = [keras.layers.Conv2D(2, 1, name=name) for name in ("aspp", "logits")]
    return keras.Sequential([keras.Input((None, None, 3)), *layers])


def test_rmi_on_camvid():
    config = config_of("rmi/camvid_v3p_rmi")
    assert (config.data.train_split, config.data.val_split) == ("train+val", "test")
    assert (config.trainer.steps, config.input.crop) == (6000, (479, 479))
    assert config.schedule.multipliers == {"^(aspp|decoder|logits)": 10}
    schedule = build_optimization(config_of("rmi/camvid_v3_ce"), small_head()).schedule
    assert float(schedule(0)) == pytest.approx(1e-4 + (0.025 - 1e-4) / 300)
    assert float(schedule(6000)) == pytest.approx(1e-6)


def small_head():
    return models.build("deeplab_v3_plus", backbone="mobilenet_v2", num_classes=2)


def test_the_list(train):
    outcome = train("recipes", "rmi table 3b")
    assert outcome.status == 0
    head, *lines = outcome.out.splitlines()
    assert "mean IoU %" in head
    assert len(lines) == 8
    assert re.search(r"rmi/a_d6_r4 +RMI table 3b +DF 6, R 4 +78.33", outcome.out)
    assert re.search(r"rmi/v3_rmi +RMI table 3b +DF 4, R 3 +78.71", outcome.out)
    assert "PyTorch" in train("recipes", "rmi/a_d6_r4", "--differs").out
    assert_one_line(train("recipes", "unet"), "no recipe with 'unet' in its name or table")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: none.yaml", "recipe.yaml: base: no file"),
        ("base: recipe.yaml", "recipe.yaml: `base` leads back to"),
        ("base: ../own/recipe.yaml", "recipe.yaml: `base` leads back to"),
        ("paper: {score: 3}", "score"),
        ("paper: {also: [{table: RMI table 2, row: CE}]}", "mean_iou"),
    ],
)
def test_a_bad_base_is_named(train, tmp_path, text, message):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "recipe.yaml").write_text(f"{text}\n")
    assert_one_line(train("fit", f"--config={tmp_path}/own/recipe.yaml", "--dry_run"), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base=a.yaml"], "--base=a.yaml: only a recipe has a base"),
        (["--base", "a.yaml"], "--base: only a recipe has a base"),
        (["--dry_run", "--config"], "expected one argument"),
    ],
)
def test_no_option_is_dropped(train, arguments, message):
    assert_one_line(train("fit", *arguments), message)


def test_bases_are_beside_their_recipes_and_options_come_last(tmp_path):
    (tmp_path / "first.yaml").write_text("trainer: {steps: 10, batch_size: 2}\nrun: a\n")
    (tmp_path / "second.yaml").write_text("base: first.yaml\ntrainer: {steps: 20}\n")
    (tmp_path / "third.yaml").write_text("base: second.yaml\nrun: c\n")
    arguments = ["--trainer.seed=5", f"--config={tmp_path}/third.yaml"]
    config = instantiate(configuration_parser().parse_args(arguments))
    assert str(config.run) == "c"
    assert (config.trainer.steps, config.trainer.batch_size, config.trainer.seed) == (20, 2, 5)


@pytest.mark.usefixtures("small_networks")
def test_a_dry_run_takes_three_steps_and_keeps_nothing(train, tmp_path):
    recipe = FOLDER / "lmp/city_median_frequency.yaml"
    outcome = train("fit", f"--config={recipe}", "--dry_run", "--schedule.multipliers={bias: 20}")
    assert outcome.status == 0
    losses = re.findall(r"^step (\d)/3: loss (\S+)$", outcome.out, re.MULTILINE)
    assert [step for step, _ in losses] == ["1", "2", "3"]
    assert all(math.isfinite(float(loss)) for _, loss in losses)
    assert "× 20" in outcome.out
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("small_networks")
def test_a_dry_run_says_that_a_loss_is_not_finite(train, monkeypatch):
    monkeypatch.setattr(Trainer, "train_step", lambda *_: {"loss": math.nan})
    outcome = train("fit", f"--config={FOLDER}/lmp/voc_base.yaml", "--dry_run", NO_HEAD)
    assert_one_line(outcome, "the loss is not finite at step 1: loss nan")


@pytest.mark.parametrize(("options", "replicas"), [([], 1), (["--trainer.replicas=2"], 2)])
def test_a_dry_run_takes_one_device_unless_told_otherwise(train, monkeypatch, options, replicas):
    def choose(asked_for, *_):
        raise UserError(f"asked for {asked_for}")

    monkeypatch.setattr(begin, "choose_strategy", choose)
    outcome = train("fit", f"--config={FOLDER}/lmp/voc_base.yaml", "--dry_run", *options)
    assert_one_line(outcome, f"error: asked for {replicas}")


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize(("frozen", "trains"), [("true", True), ("all", False)])
def test_a_dry_run_trains_scale_and_offset_where_the_run_does(train, monkeypatch, frozen, trains):
    monkeypatch.setattr(Trainer, "train_step", lambda *_: {"loss": 1.0})
    recipe, options = FOLDER / "lmp/voc_base.yaml", [f"--model.freeze_batch_norm={frozen}", NO_HEAD]
    outcome = train("fit", f"--config={recipe}", "--dry_run", *options)
    assert outcome.status == 0
    assert ("gamma" in outcome.out) == trains


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--data.train_split=trainagu", "voc2012 has the splits train, val, "),
        ("--data.val_split=val+val", "'val+val' names the split 'val' twice"),
        (
            "--trainer={replicas: 2, batch_size: 3}",
            "of the 2 replicas, got 3; choose --trainer.rep",
        ),
        ("--init_from=a", "init_from and model.weights are both given (a, imagenet)"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(train, option, message):
    outcome = train("fit", f"--config={FOLDER}/lmp/voc_base.yaml", "--dry_run", option)
    assert_one_line(outcome, message)


REAL = ["lad/t1_k3", "lmp/city_p1.3", "ssl/v3p_ssl3", "ssl/city_ce", "rmi/camvid_v3_rmi"]


def kinds(name):
    """Return what a recipe, or a base, has of its own kind: it must be met in a dry run."""
    config = config_of(name)
    model, data = config.model, config.data
    return {model.name, model.backbone, *model.options, data.name, data.unlabelled_as_class}


def test_each_kind_of_recipe_is_among_the_real_ones():
    bases = [path.relative_to(FOLDER).with_suffix("") for path in FOLDER.glob("*/base_*.yaml")]
    assert set.union(*map(kinds, REAL)) == set.union(*map(kinds, bases))


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_ones_fit_together(train, name):
    outcome = train("fit", f"--config={FOLDER}/{name}.yaml", "--dry_run")
    assert outcome.status == 0
    losses = re.findall(r"^step \d/3: loss (\S+?),?(?: |$)", outcome.out, re.MULTILINE)
    assert len(losses) == 3
    assert all(math.isfinite(float(loss)) for loss in losses)
