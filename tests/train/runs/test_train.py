"""`python -m train fit`: what a run reads and leaves, and what is refused before it exists."""

import json
import os
import re
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests.commands import TINY_RUN, assert_one_line
from tests.train.small_network import STEPS
from train.common.errors import UserError
from train.config import InputConfig
from train.data.datasets.registry import SCENES
from train.data.input.pipeline import step_samples, training_stream
from train.data.input.sampling import ComplementaryWeights
from train.loop.cluster import Worker
from train.loop.evaluation import Scores
from train.loop.trainer import Trainer
from train.runs import train as runs_train
from train.runs.reporting import ProgressReport
from train.runs.summary import read_seconds_per_step
from train.runs.watching import Evaluations

COMPLEMENTARY = (
    "--input.sampling.strategy=complementary",
    "--input.crop=[24, 32]",
    "--loss=SoftmaxCrossEntropy",
)


@pytest.fixture
def fit(train, scenes_root, tmp_path):
    """Trains in the folder `run`; the options may say otherwise."""
    return lambda *options: train(
        "fit", f"--run={tmp_path}/run", f"--data.root={scenes_root}", *TINY_RUN, *options
    )


def test_a_run_folder_holds_everything(trained_run):
    lines = [json.loads(line) for line in (trained_run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [STEPS // 2, STEPS]
    assert {"loss", "learning_rate", "val_mean_iou", "val_pixel_accuracy"} <= set(lines[0])
    assert "class_path: tfsegloss.SoftmaxCrossEntropy" in (trained_run / "config.yaml").read_text()
    assert json.loads((trained_run / "samples.json").read_text())["val"]["count"] == 3
    assert (trained_run / "checkpoints" / f"ckpt-{STEPS}.index").exists()
    assert list((trained_run / "tensorboard").rglob("events*"))


@pytest.fixture
def steps(small_networks, monkeypatch):
    """Note what is at hand at each step; nothing is learnt, and the third is interrupted."""
    seen = []

    def step(trainer, batch):
        trainer.optimizer.iterations.assign_add(1)
        seen.append((batch, trainer.sampling_weights))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return {"loss": tf.constant(0.0)}

    monkeypatch.setattr(Trainer, "train_step", step)
    return seen


def test_batches_are_those_of_the_seed_and_of_the_step(fit, scenes_root, steps):
    """Also of a run that was stopped."""
    options = ["--loss=SoftmaxCrossEntropy", "--data.verify=false"]
    options += ["--trainer.seed=5", "--trainer.evaluate_every=4"]
    stopped, resumed = fit(*options), fit(*options)
    assert (stopped.status, resumed.status) == (130, 0)
    assert "at step 3 of 4" in resumed.out
    expected = training_stream(
        SCENES.samples("train", scenes_root), InputConfig(crop=(48, 64)), batch_size=2, seed=5
    )
    for (ours, _), theirs in zip(steps, expected.take(4), strict=True):
        for part, expected_part in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(part, expected_part)


@pytest.mark.full
@pytest.mark.usefixtures("small_networks")
def test_a_run_that_patience_has_ended_is_finished(fit, tmp_path):
    """The learning rate is so small that no score changes."""
    options = ["--loss=SoftmaxCrossEntropy", "--data.verify=false", "--trainer.patience=1"]
    options += ["--trainer.evaluate_every=1", "--optimizer.learning_rate=1e-30"]
    options += ["--model.freeze_batch_norm=all"]
    ended = fit(*options)
    assert ended.status == 0
    steps = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert steps < 4
    assert "No better mean IoU in 1 evaluations: trainer.patience ends it" in ended.out
    again = fit(*options)
    assert f"is finished: {steps} steps were taken" in again.out


def test_complementary_sampling_learns_from_the_steps(fit, steps):
    assert fit(*COMPLEMENTARY, "--trainer.evaluate_every=4").status == 130
    assert len({id(weights) for _, weights in steps}) == 1
    assert isinstance(steps[0][1], ComplementaryWeights)


@pytest.mark.full
def test_each_replica_evaluates_as_many_pixels_as_it_trains_on(fit, small_networks, monkeypatch):
    found = []

    def step(trainer, batch):
        trainer.optimizer.iterations.assign_add(1)
        return {"loss": tf.constant(0.0)}

    def score(*_arguments, batch_pixels, devices, **_options):
        found.append((batch_pixels, devices.count))
        return Scores(np.eye(11), SCENES.class_names, 3)

    monkeypatch.setattr(Trainer, "train_step", step)
    monkeypatch.setattr(runs_train, "evaluate", score)
    monkeypatch.setattr(Evaluations, "on_scores", lambda *_arguments: None)
    outcome = fit("--trainer.replicas=2", "--trainer.batch_size=4", "--trainer.steps=2")
    assert outcome.status == 0, outcome.err
    assert found == [(2 * 48 * 64, 2)]


def last_checkpoint(run):
    reader = tf.train.load_checkpoint(str(run / "checkpoints"))
    names = sorted(reader.get_variable_to_shape_map())
    return {name: reader.get_tensor(name) for name in names if "GRAPH" not in name}


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks")
def test_a_crash_between_two_refreshes_changes_nothing(fit, tmp_path, monkeypatch):
    folder = tmp_path
    assert fit(f"--run={folder}/whole", *COMPLEMENTARY).status == 0
    step, calls = Trainer.train_step, []

    def until_the_fourth(trainer, batch):
        calls.append(batch)
        if len(calls) == 4:  # in the second of two epochs of two steps
            raise RuntimeError("crash")
        return step.__get__(trainer, Trainer)(batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", until_the_fourth)
        with pytest.raises(RuntimeError, match="crash"):
            fit(f"--run={folder}/crashed", *COMPLEMENTARY)
    resumed = fit(f"--run={folder}/crashed", *COMPLEMENTARY)
    assert "at step 3 of 4" in resumed.out
    whole, again = (last_checkpoint(folder / name) for name in ("whole", "crashed"))
    assert whole.keys() == again.keys()
    for name, value in whole.items():
        if "save_counter" not in name:
            np.testing.assert_array_equal(again[name], value, err_msg=name)
    shares = whole["shares/1/.ATTRIBUTES/VARIABLE_VALUE"]
    assert len(np.unique(shares)) > 1  # something was learnt of the classes
    assert shares.sum() == pytest.approx(1)


def truncate(root):
    path = root / "SegmentationClass" / "scene_000002.png"
    path.write_bytes(path.read_bytes()[:-40])
    return path, "cannot be decoded"


def remove(root):
    path = root / "JPEGImages" / "scene_000002.jpg"
    path.unlink()
    return path, "train.txt line 3"


def remove_all(root):
    shutil.rmtree(root)
    return "data.root", root


@pytest.mark.parametrize("damage", [truncate, remove, remove_all])
def test_bad_data_is_named_before_anything_is_written(fit, scenes_root, tmp_path, damage):
    root = shutil.copytree(scenes_root, tmp_path / "broken")
    parts = damage(root)
    assert_one_line(fit(f"--data.root={root}", "--loss=SoftmaxCrossEntropy"), *parts)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        ("--model.weights=none.weights.h5", ["model", "none.weights.h5"]),
        ("--model.options={sharp: 1}", ["deeplab_v3_plus", "atrous_rates", "sharp=1"]),
        ("--model.options={num_classes: 1}", ["model.options", "num_classes"]),
        ("--optimizer=Adamm", ["optimizer: no class 'Adamm' (did you mean Adam or "]),
        ("--schedule.multipliers={head: 9}", ["schedule.multipliers: 'head' is found in no name"]),
        ("--schedule.warmup_steps=4", ["schedule", "warmup_steps=4"]),
        (
            "--trainer.xla=true",
            ["trainer.xla must be false on 2 replicas", "trainer.replicas to 1"],
        ),
        ("--run=setup.cfg", ["setup.cfg"]),
    ],
)
def test_a_value_that_cannot_be_is_named_before_anything_is_written(
    fit, tmp_path, request, option, parts
):
    if not option.startswith("--model"):
        request.getfixturevalue("small_networks")
    (tmp_path / "setup.cfg").touch()
    options = ["--loss=SoftmaxCrossEntropy", "--data.verify=false", option]
    if "xla" in option:
        options.append("--trainer.replicas=2")
    assert_one_line(fit(*options), *parts)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_names_the_tensor_and_the_files(
    fit, scenes_root, tmp_path, small_networks
):
    """A learning rate beyond all reason; nothing is saved, nor left behind."""
    options = ["--loss=SoftmaxCrossEntropy", "--data.verify=false", "--trainer.seed=5"]
    options += ["--optimizer.learning_rate=1e30", "--trainer.evaluate_every=4"]
    outcome = fit(*options, "--trainer.checkpoint_every=4", "--optimizer.momentum=0")
    assert_one_line(outcome, "the first tensor that is not is ")
    pattern = r"not finite at step (\d): in step (\d) the first .* of the batch of (.*);"
    found = re.search(pattern, outcome.err)
    samples = SCENES.samples("train", scenes_root)
    numbers = step_samples(samples, int(found[2]) - 1, batch_size=2, seed=5)
    assert found[3].split(", ") == [samples.image_name(number) for number in numbers]
    assert found[3] in outcome.out or found[1] != found[2]
    assert not [*(tmp_path / "run" / "checkpoints").glob("*")]


def test_after_a_signal_what_is_not_finite_is_said_and_not_searched_for(
    fit, small_networks, monkeypatch
):
    def step(trainer, batch):
        os.kill(os.getpid(), signal.SIGTERM)
        trainer.optimizer.iterations.assign_add(1)
        return {"loss": tf.constant(np.nan)}

    monkeypatch.setattr(Trainer, "train_step", step)
    outcome = fit("--loss=SoftmaxCrossEntropy")
    assert outcome.status == 2
    assert "error: the loss is not finite at step 1: expected a finite number" in outcome.err
    assert "Taking the steps" not in outcome.out


@pytest.mark.parametrize("count", [1, 2])  # the second one does not wait
def test_a_signal_when_all_is_saved_and_scored_takes_nothing_from_a_run(
    fit, tmp_path, small_networks, monkeypatch, count
):
    def step(trainer, batch):
        trainer.optimizer.iterations.assign_add(1)
        return {"loss": tf.constant(0.0)}

    def end(report, logs=None):
        for _ in range(count):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "train_step", step)
    monkeypatch.setattr(ProgressReport, "on_train_end", end)
    monkeypatch.setattr(Evaluations, "on_scores", lambda *_: None)  # which takes seconds
    options = ["--data.verify=false", "--trainer.evaluate_every=4"]
    outcome = fit("--loss=SoftmaxCrossEntropy", *options)
    assert (outcome.status, outcome.err.splitlines()[-1]) == (143, "ended by SIGTERM")
    assert "goes on from there" not in outcome.out
    if count == 1:
        assert "Last:  step 4: " in outcome.out
        assert read_seconds_per_step(tmp_path / "run") > 0


def test_a_lost_worker_is_said_with_the_error_it_was_found_by(monkeypatch):
    error = tf.errors.UnavailableError(None, None, "Connection reset, /task:1")

    def lose(*_arguments):
        raise error

    monkeypatch.setattr(runs_train, "_train", lose)
    with pytest.raises(UserError, match="worker 1 .* is gone.*Connection reset") as raised:
        runs_train.train(None, "", Worker(0, ("a:1", "b:2")))
    assert raised.value.__cause__ is error
