"""`python -m train compare` of finished runs, and of recipes that it trains."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf
import yaml

from tests.commands import TINY_RUN, UNCAPTURED, assert_one_line, command
from tests.train import small_network
from tests.train.small_network import STEPS
from train.common.errors import UserError
from train.compare.collect import of_recipes
from train.compare.results import read_results, results_path, write_results
from train.compare.score import data_of, image_names, is_finished, score
from train.data.datasets.registry import SCENES
from train.data.samples.samples import FileSamples
from train.runs.configuration import configuration_parser, instantiate
from train.runs.data import names_of
from train.runs.folder import create_or_verify_samples
from train.runs.load import load_trained

ROOT = Path(__file__).parents[3]
NAMES = ("ce-seed0", "other-seed0")


def score_here(run, name, folder):
    """Score in this process, whose networks are small."""
    results = score(run, name, lambda _: None)
    write_results(results_path(folder, name, results.seed), results)


@pytest.fixture(scope="module")
def compared(trained_run, tmp_path_factory):
    """Return a folder of two finished runs, the second of which is worse, and their comparison."""
    folder = tmp_path_factory.mktemp("compared")
    for name in NAMES:
        shutil.copytree(trained_run, folder / name)
    with small_network.small_networks():
        model = load_trained(folder / NAMES[1])[2]
    model.layers[-1].bias.assign([9.0, *model.layers[-1].bias[1:]])  # it likes the first class
    tf.train.Checkpoint(model=model).write(str(folder / NAMES[1] / f"checkpoints/ckpt-{STEPS}"))
    with small_network.small_networks() as monkeypatch:
        monkeypatch.setattr("train.compare.collect.score_run", score_here)
        monkeypatch.chdir(folder)
        assert command(monkeypatch, UNCAPTURED, "train", "compare", "--runs", *NAMES).status == 0
    return folder


@pytest.fixture
def runs(trained_run, tmp_path, small_networks):
    """Return the same runs, to be changed, without a comparison."""
    for name in NAMES:
        shutil.copytree(trained_run, tmp_path / name)
    return [tmp_path / name for name in NAMES]


def test_a_report_has_tables_and_pictures(compared):
    output = compared / "runs/compare"
    names = {"comparison.md", "comparison.csv", "scores.png", "gains.png", "panels.png"}
    assert {path.name for path in output.iterdir()} == names
    assert "difference to ce | 95 % interval" in report(output)
    first, _ = csv.DictReader((output / "comparison.csv").read_text().splitlines())
    logged = json.loads((compared / NAMES[0] / "metrics.jsonl").read_text().splitlines()[-1])
    assert float(first["mean_iou"]) == pytest.approx(logged["val_mean_iou"], rel=1e-5)


def test_the_difference_of_a_worse_run_is_negative(compared):
    output = compared / "runs/compare"
    first, other = csv.DictReader((output / "comparison.csv").read_text().splitlines())
    expected = 100 * (float(other["mean_iou"]) - float(first["mean_iou"]))
    assert expected < -1
    row = re.search(r"^\| other \|.*?\|.*?\| (.*?) \| (.*?) to (.*?) \|", report(output), re.M)
    difference, low, high = map(float, row.groups())
    assert difference == pytest.approx(expected, abs=0.01)
    assert low < difference < high


def report(output):
    return (output / "comparison.md").read_text()


def test_a_run_leaves_its_scores(compared):
    results = read_results(compared / "train/results/ce-seed0.json")
    assert (results.step, len(results.images)) == (30, 3)
    assert results.settings["input.resolution"] == 0.75
    assert not {"data.root", "run", "trainer.seed"} & set(results.settings)
    assert results.seconds_per_step > 0


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/one.jpg", "a/two.PNG", "a/b/one.png"], ["one", "two", "b/one"]),
        (["scene.1", "scene.2"], ["scene.1", "scene.2"]),
        (["a/one.jpg", "a/one.png"], ["one.jpg", "one.png"]),
    ],
)
def test_names_are_the_same_wherever_and_however_images_are_kept(files, names):
    paths = tuple(map(Path, files))
    assert image_names(FileSamples(SCENES.encoding, paths, paths)) == names


def test_results_of_camvid_are_of_its_images(camvid_root):
    recipe = [f"--config={ROOT / 'train/recipes/camvid/ce.yaml'}", f"--data.root={camvid_root}"]
    data = data_of(instantiate(configuration_parser().parse_args(recipe)))
    for path in (ROOT / "train/results/camvid").glob("*.json"):
        found = read_results(path)
        assert (found.class_names, found.images) == (data.class_names, data.images)
        assert found.training_images == data.training_images


def test_what_is_on_file_needs_no_run(compared, train, runs):
    shutil.rmtree(runs[0] / "checkpoints")
    shutil.rmtree(runs[1] / "checkpoints")
    after = train("compare", "--runs", *runs, f"--results={compared / 'train/results'}")
    assert "Without predictions of ce, other, whose runs are not here" in after.out
    assert report(compared / "runs/compare") in after.out


def test_results_stand_for_runs_of_another_machine(compared, train, tmp_path):
    missing = [tmp_path / name for name in NAMES]
    after = train("compare", "--runs", *missing, f"--results={compared / 'train/results'}")
    assert (compared / "runs/compare/comparison.md").read_text() in after.out


def test_other_settings_are_named(compared, train, runs):
    config = runs[1] / "config.yaml"
    config.write_text(config.read_text().replace("power: 0.9", "power: 0.5"))
    outcome = train("compare", "--runs", *runs, f"--results={compared / 'train/results'}")
    assert_one_line(outcome, "other-seed0.json is of other settings: schedule.power: 0.9, now 0.5")


def test_a_run_of_other_settings_than_the_recipe_is_not_taken_for_it(runs, tmp_path):
    recipe = tmp_path / "ce.yaml"
    recipe.write_text((runs[0] / "config.yaml").read_text().replace("power: 0.9", "power: 0.5"))
    with pytest.raises(UserError, match="ce-seed0 is of other settings: schedule.power: 0.9, now"):
        of_recipes({"new": recipe, "ce": recipe}, [0], tmp_path / "results", tmp_path, None)
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "new-seed0").exists()


def test_results_of_another_training_than_the_run_are_refused(compared, train, runs):
    summary = runs[1] / "summary.json"
    started = json.loads(summary.read_text())
    started["starts"][0]["time"] = "2020-01-01T00:00:00+00:00"
    summary.write_text(json.dumps(started))
    outcome = train("compare", "--runs", *runs, f"--results={compared / 'train/results'}")
    assert_one_line(
        outcome, "other-seed0.json is of a training of ", "of 2020-01-01T00:00:00+00:00"
    )


def without_first(split, root, folder):
    """Return a copy of a dataset without the first image of a split."""
    fewer = shutil.copytree(root, folder / "fewer")
    listed = fewer / f"ImageSets/Segmentation/{split}.txt"
    listed.write_text(listed.read_text().partition("\n")[2])
    return fewer


def test_results_of_other_data_are_refused(compared, runs, tmp_path, scenes_root):
    """The recipes are the same, the folder of the data is another."""
    recipes = {run.name.removesuffix("-seed0"): run / "config.yaml" for run in runs}
    results, fewer = compared / "train/results", without_first("train", scenes_root, tmp_path)
    assert len(of_recipes(recipes, [0], results, tmp_path / "none", scenes_root)) == 2
    with pytest.raises(UserError, match=r"ce-seed0\.json is of other training images than --data"):
        of_recipes(recipes, [0], results, tmp_path / "none", fewer)
    with pytest.raises(UserError, match="ce-seed0 is of other training images than --data.root"):
        of_recipes(recipes, [0], tmp_path / "no_results", tmp_path, fewer)


def test_a_run_of_another_seed_than_its_folder_s_name_is_refused(runs, tmp_path):
    """One that was copied or renamed."""
    recipes = {run.name.removesuffix("-seed0"): run / "config.yaml" for run in runs}
    shutil.copytree(runs[1], tmp_path / "other-seed1")
    with pytest.raises(UserError, match="other-seed1 is of seed 0, not of 1: give the folder the"):
        of_recipes(recipes, [0, 1], tmp_path / "results", tmp_path, None)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_run_whose_data_have_changed_is_refused(train, runs, tmp_path, scenes_root, split):
    """Where they were: the folder is the same, what it holds is not."""
    root = shutil.copytree(scenes_root, tmp_path / "root")
    recipes = {run.name.removesuffix("-seed0"): run / "config.yaml" for run in runs}
    for run in runs:
        config = run / "config.yaml"
        config.write_text(config.read_text().replace(str(scenes_root), str(root)))
        samples = {name: SCENES.samples(name, root) for name in ("train", "val")}
        (run / "samples.json").unlink()
        create_or_verify_samples(run, {name: names_of(of) for name, of in samples.items()})
    assert train("score", runs[0]).status == 0
    listed = root / f"ImageSets/Segmentation/{split}.txt"
    listed.write_text(listed.read_text().partition("\n")[2])
    count = len(samples[split])
    message = f"began with {count} samples of {split}, now there are {count - 1}, or others: rest"
    assert_one_line(train("score", runs[1]), "other-seed0 ", message)
    with pytest.raises(UserError, match=message):
        of_recipes(recipes, [0], tmp_path / "results", tmp_path, root)


def test_results_of_another_recipe_are_refused(compared, runs, tmp_path):
    """A run that was scored by hand has its folder's name, unless it is given one."""
    shutil.copytree(compared / "train/results", tmp_path / "results/camvid")
    recipes = {"camvid/ce": runs[0] / "config.yaml", "camvid/other": runs[1] / "config.yaml"}
    with pytest.raises(UserError, match=r"ce-seed0\.json is of ce, not of camvid/ce: remove it"):
        of_recipes(recipes, [0], tmp_path / "results", tmp_path / "none", None)


def test_scores_are_told_where_an_image_is_gone(compared, train, runs, scenes_root, tmp_path):
    fewer = without_first("val", scenes_root, tmp_path)
    for run in runs:
        config = run / "config.yaml"
        config.write_text(config.read_text().replace(str(scenes_root), str(fewer)))
    after = train("compare", "--runs", *runs, f"--results={compared / 'train/results'}")
    assert after.status == 0
    assert f"Without predictions: {runs[0]} has no validation image " in after.out
    assert "Report: " in after.out


def test_a_run_that_patience_ended_is_finished(runs):
    config = runs[0] / "config.yaml"
    more = config.read_text().replace("  steps: 30", "  steps: 90")
    config.write_text(more.replace("patience: null", "patience: 1"))
    line = {**json.loads((runs[0] / "metrics.jsonl").read_text().splitlines()[-1]), "step": 20}
    better = json.dumps({**line, "val_mean_iou": 1.0})
    assert not is_finished(runs[0])
    metrics = runs[0] / "metrics.jsonl"
    metrics.write_text(better + "\n" + metrics.read_text().splitlines()[-1] + "\n")
    assert is_finished(runs[0])


def test_an_unfinished_run_is_refused(train, runs):
    config = runs[1] / "config.yaml"
    config.write_text(config.read_text().replace("  steps: 30", "  steps: 40"))
    outcome = train("compare", "--runs", *runs)
    assert_one_line(outcome, "other-seed0 has taken 30 of its 40 steps: train it to its end first")


def test_two_runs_of_one_name_and_seed_are_refused(train, runs):
    outcome = train("compare", "--runs", *runs, runs[0])
    assert_one_line(outcome, "are both ce with seed 0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to compare: give --recipes, or --runs"),
        (["--recipes", "camvid/none"], "no recipe camvid/none: expected a file, or a name"),
        (["--recipes", "camvid/ce", "camvid/ce"], "two of them have the same name"),
        (["--recipes", "camvid/ce", "--runs", "a"], "--recipes and --runs are both given"),
        (["--recipes", "camvid/ce"], "a comparison needs two --recipes, or --runs of two names"),
        (["--runs", "a"], "a comparison needs two --recipes, or --runs of two names"),
        (["--runs", "a", "b"], "a is no run"),
        (["--runs", "a", "b", "--data.root=c"], "--data.root is of --recipes"),
        (["--recipes", "camvid/ce", "camvid/rmi", "--seeds", "-1"], "seeds"),
    ],
)
def test_mistakes_are_named(train, options, message):
    assert_one_line(train("compare", *options), message)


def write_recipe(folder, name, loss):
    options = dict(option.removeprefix("--").split("=") for option in TINY_RUN)
    recipe = {"loss": {"class_path": loss}, "trainer": {}, "schedule": {}, "input": {}}
    for option, value in options.items():
        group, key = option.split(".")
        recipe[group][key] = yaml.safe_load(value)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


ASKS_FOR_THE_DEVICES = """
import sys
import tensorflow as tf
from train.compare import collect

def train_recipe(recipe, run, seed, root):
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
    tf.config.set_logical_device_configuration(cpu, devices)  # an error once there are devices
    raise SystemExit(77)

collect.train_recipe = train_recipe
collect.of_recipes(dict(ce="ce.yaml", other="other.yaml"), [0], collect.Path("results"),
                   collect.Path(), collect.Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_no_device_is_taken_before_all_is_trained(runs, tmp_path, scenes_root):
    """The first recipe's results are on file, the second is to be trained."""
    for run in runs:
        shutil.copy(run / "config.yaml", run.parent / f"{run.name.removesuffix('-seed0')}.yaml")
    shutil.rmtree(runs[1])
    score_here(runs[0], "ce", tmp_path / "results")
    command = [sys.executable, "-c", ASKS_FOR_THE_DEVICES, str(scenes_root)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    asked = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert asked.returncode == 77, asked.stderr


def test_an_unfinished_run_of_other_settings_is_named_before_training(runs, tmp_path, monkeypatch):
    def train(*_arguments):
        raise AssertionError("trained")

    monkeypatch.setattr("train.compare.collect.train_recipe", train)
    files = {}
    for run in runs:
        name = run.name.removesuffix("-seed0")
        files[name] = shutil.copy(run / "config.yaml", tmp_path / f"{name}.yaml")
        shutil.rmtree(run / "checkpoints")
    config = runs[1] / "config.yaml"
    config.write_text(config.read_text().replace("power: 0.9", "power: 0.5"))
    with pytest.raises(UserError, match="of another run: schedule.power: 0.5, now 0.9; rem"):
        of_recipes(files, [0], tmp_path / "results", tmp_path, None)


@pytest.mark.slow
def test_recipes_are_trained_and_a_stopped_comparison_goes_on(scenes_root, tmp_path):
    losses = {"ce": "SoftmaxCrossEntropy", "focal": "FocalLoss"}
    recipes = [write_recipe(tmp_path, name, loss) for name, loss in losses.items()]
    arguments = [sys.executable, "-m", "train", "compare", "--recipes", *recipes, "--seeds=0"]
    arguments += [f"--data.root={scenes_root}", f"--output={tmp_path / 'out'}"]
    arguments += [f"--results={tmp_path / 'results'}"]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    second = tmp_path / "out/runs/focal-seed0/checkpoints"
    deadline = time.monotonic() + 300
    while not second.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"ce-seed0.json"}
    again = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "Training ce" not in again.stdout
    assert "Training focal" in again.stdout
    assert (tmp_path / "out/panels.png").is_file()
