"""The folder of a run: one configuration, and metrics that survive a kill."""

import json

import keras
import pytest

from train.common.errors import UserError
from train.runs.folder import MetricsFile, create_or_verify, create_or_verify_samples


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


def test_a_folder_belongs_to_one_configuration(tmp_path):
    create_or_verify(tmp_path / "run", "run: a\ntrainer:\n  steps: 10\n  crop: [1, 2]\n")
    create_or_verify(tmp_path / "run", "run: ./a\ntrainer: {crop: [1, 2], steps: 10}\n")
    with pytest.raises(UserError, match="trainer.steps: 10, now 20; choose another --run"):
        create_or_verify(tmp_path / "run", "trainer:\n  steps: 20\n  crop: [1, 2]\n")
    with pytest.raises(UserError, match=r"trainer.crop: \[1, 2\], now \[2, 1\]"):
        create_or_verify(tmp_path / "run", "trainer:\n  steps: 10\n  crop: [2, 1]\n")


def test_a_run_goes_on_with_the_samples_it_began_with_only(tmp_path):
    splits = {"train": ["a", "b"], "val": ["c"]}
    for _ in range(2):
        create_or_verify_samples(tmp_path, splits)
    with pytest.raises(UserError, match="began with 2 samples of train, now there are 3"):
        create_or_verify_samples(tmp_path, {**splits, "train": ["a", "b", "d"]})
    with pytest.raises(UserError, match="began with 1 samples of val, now there are 1, or others"):
        create_or_verify_samples(tmp_path, {**splits, "val": ["d"]})
