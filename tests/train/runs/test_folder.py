"""The folder of a run: one configuration, and metrics that survive a kill."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from typing import get_args

import keras
import pytest

from train.common.errors import UserError
from train.config import TrainerConfig
from train.loop.evaluation import METRICS
from train.runs.folder import LOCK, MetricsFile, create_or_verify, create_or_verify_samples, locked


def test_a_line_that_was_not_finished_and_scores_that_are_not_defined(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"ste')
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd")
    callback = MetricsFile(path, step=1)
    callback.set_model(model)
    callback.on_epoch_end(0, {"val_mean_iou": float("nan")})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"step": 1}, {"step": 0, "val_mean_iou": None}]


def test_scores_are_on_record_when_their_line_is_in_the_file(tmp_path, monkeypatch):
    """A signal may come before."""

    def interrupt(_file):
        raise KeyboardInterrupt

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd")
    model.optimizer.iterations.assign(4)
    callback = MetricsFile(tmp_path / "metrics.jsonl", step=0)
    callback.set_model(model)
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        callback.on_epoch_end(0, {"val_mean_iou": 0.5})
    assert not callback.is_finished(TrainerConfig(steps=4), 4)
    assert callback.last_step == 0
    monkeypatch.undo()
    callback.on_epoch_end(0, {"val_mean_iou": 0.5})
    assert callback.is_finished(TrainerConfig(steps=4), 4)


def test_a_folder_belongs_to_one_configuration(tmp_path):
    create_or_verify(tmp_path / "run", "run: a\ntrainer:\n  steps: 10\n  crop: [1, 2]\n")
    create_or_verify(tmp_path / "run", "run: ./a\ntrainer: {crop: [1, 2], steps: 10}\n")
    with pytest.raises(UserError, match="trainer.steps: 10, now 20; choose another --run"):
        create_or_verify(tmp_path / "run", "trainer:\n  steps: 20\n  crop: [1, 2]\n")
    with pytest.raises(UserError, match=r"trainer.crop: \[1, 2\], now \[2, 1\]"):
        create_or_verify(tmp_path / "run", "trainer:\n  steps: 10\n  crop: [2, 1]\n")


def test_a_run_goes_on_whatever_is_said_of_its_paper(tmp_path):
    create_or_verify(tmp_path / "run", "paper: {row: CE}\ntrainer: {steps: 10}\n")
    create_or_verify(tmp_path / "run", "paper: {row: BCE, also: [1]}\ntrainer: {steps: 10}\n")


def test_a_key_that_an_earlier_version_did_not_have_is_its_default(tmp_path):
    defaults = "trainer: {steps: 1, parts: 1}\noptimizer: {momentum: 0.9}\n"
    create_or_verify(tmp_path / "run", "trainer: {steps: 10}\n", defaults)
    create_or_verify(tmp_path / "run", "trainer: {steps: 10, parts: 1}\n", defaults)
    with pytest.raises(UserError, match="trainer.parts: 1, now 2; choose another"):
        create_or_verify(tmp_path / "run", "trainer: {steps: 10, parts: 2}\n", defaults)


def test_a_run_goes_on_with_the_samples_it_began_with_only(tmp_path):
    splits = {"train": ["a", "b"], "val": ["c"]}
    for _ in range(2):
        create_or_verify_samples(tmp_path, splits)
    with pytest.raises(UserError, match="began with 2 samples of train, now there are 3"):
        create_or_verify_samples(tmp_path, {**splits, "train": ["a", "b", "d"]})
    with pytest.raises(UserError, match="began with 1 samples of val, now there are 1, or others"):
        create_or_verify_samples(tmp_path, {**splits, "val": ["d"]})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"train": 3}', "{}"])
def test_damaged_samples_are_named(tmp_path, text):
    (tmp_path / "samples.json").write_text(text)
    with pytest.raises(UserError, match=f"{tmp_path}/samples.json is damaged: restore it, or"):
        create_or_verify_samples(tmp_path, {"train": ["a"], "val": ["b"]})


@pytest.mark.parametrize("text", ["", "\n", "a text"])
def test_a_damaged_configuration_is_named(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match="config.yaml is empty or damaged: restore it"):
        create_or_verify(tmp_path, "trainer: {steps: 1}\n")


@pytest.mark.parametrize("left", ["metrics.jsonl", "checkpoints/ckpt-3.index"])
def test_a_run_without_its_configuration_is_not_begun_anew(tmp_path, left):
    (tmp_path / left).parent.mkdir(exist_ok=True)
    (tmp_path / left).touch()
    with pytest.raises(UserError, match="holds a run without config.yaml"):
        create_or_verify(tmp_path, "trainer: {steps: 1}\n")
    assert (tmp_path / left).exists()


@pytest.mark.parametrize("odd", ["", "[]", '{"loss": 1}', '{"step": null}', "{"])
def test_an_odd_line_of_metrics_is_named_and_nothing_is_lost(tmp_path, odd):
    path = tmp_path / "metrics.jsonl"
    text = f'{{"step": 1}}\n{odd}\n{{"step": 2}}\n'
    path.write_text(text)
    with pytest.raises(UserError, match=f"{path} line 2: expected .*mend it, or take it out"):
        MetricsFile(path, step=2)
    assert path.read_text() == text


def test_scores_without_a_checkpoint_are_not_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 4}\n')
    with pytest.raises(UserError, match="scores up to step 4, but .*checkpoints no checkpoint"):
        MetricsFile(path, step=0)
    assert path.read_text() == '{"step": 4}\n'
    assert MetricsFile(path, step=4).last_step == 4


@pytest.mark.parametrize("writes", [True, False])
def test_steps_whose_scores_are_gone_do_not_go_on_as_if_none_had_been_the_best(tmp_path, writes):
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(UserError, match=f"{path} is missing: 4 steps were taken.*bring it back"):
        MetricsFile(path, step=4, writes=writes)
    assert not path.exists()


def test_what_is_the_best_is_said_by_a_chosen_score(tmp_path):
    path = tmp_path / "metrics.jsonl"
    scores = [(0.5, 0.7), (0.4, 0.9), (0.3, 0.9)]  # mean IoU, pixel accuracy
    lines = [
        {"step": step, "val_mean_iou": iou, "val_pixel_accuracy": accuracy}
        for step, (iou, accuracy) in enumerate(scores, 1)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    by_iou = MetricsFile(path, step=3)
    by_accuracy = MetricsFile(path, step=3, best_by="pixel_accuracy")
    assert (by_iou.best_step(), by_iou.evaluations_since_best()) == (1, 2)
    assert (by_accuracy.best_step(), by_accuracy.evaluations_since_best()) == (2, 1)


def test_the_best_may_be_said_by_every_score():
    (field,) = (field for field in fields(TrainerConfig) if field.name == "best_by")
    assert get_args(field.type) == tuple(METRICS)


def test_one_process_at_a_time(tmp_path):
    """The lock of a killed one is none."""
    script = "import sys, time, filelock\n"
    script += "with filelock.FileLock(sys.argv[1]): print(flush=True); time.sleep(600)\n"
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / LOCK)], stdout=subprocess.PIPE
    )
    other.stdout.readline()
    message = f"{tmp_path} is being trained by another process"
    try:
        with pytest.raises(UserError, match=message), locked(tmp_path):
            pass
    finally:
        other.kill()
        other.communicate()
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("name", ["a[1]", "a*", "what?", "back\\slash"])
def test_a_folder_that_tensorflow_takes_for_a_pattern_is_refused_at_once(tmp_path, name):
    with pytest.raises(UserError, match="run: .*expected a name without .* TensorFlow takes for a"):
        create_or_verify(tmp_path / name, "trainer: {steps: 1}\n")
    assert not (tmp_path / name).exists()
