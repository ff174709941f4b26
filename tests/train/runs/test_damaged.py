"""Damaged runs: `fit`, `export` and `explain` use the newest whole checkpoint, or stop."""

import json
import shutil

import numpy as np
import pytest

from tests.commands import assert_one_line, command
from tests.train.small_network import STEPS, options
from train.loop import checkpoints

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture
def run(trained_run, tmp_path):
    """Return a copy of a finished run, which has more than one checkpoint."""
    run = shutil.copytree(trained_run, tmp_path / "run")
    assert len(checkpoints.steps(run / "checkpoints")) > 1
    return run


@pytest.fixture
def commands(run, scenes_root, tmp_path, monkeypatch, capfd):
    """Return what runs each command that reads a run."""
    arguments = {
        "fit": ["train", "fit", *options(run, scenes_root)],
        "export": ["savedmodels", "export", run, f"--output={tmp_path}/model"],
        "explain": ["train", "explain", run, f"--output={tmp_path}/picture.png"],
    }
    return lambda name: command(monkeypatch, capfd, *arguments[name])


def files(run, step):
    return sorted((run / "checkpoints").glob(f"ckpt-{step}.*"))


def flip_a_byte(run):
    data, _ = files(run, STEPS)
    contents = bytearray(data.read_bytes())
    contents[::97] = bytes(b ^ 1 for b in contents[::97])
    data.write_bytes(contents)


def cut_the_index(run):
    _, index = files(run, STEPS)
    index.write_bytes(index.read_bytes()[:20])


def empty_both(run):
    for path in files(run, STEPS):
        path.write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [flip_a_byte, cut_the_index, empty_both], ids=lambda d: d.__name__
)
@pytest.mark.parametrize(
    "name", ["export", *(pytest.param(n, marks=pytest.mark.full) for n in ("fit", "explain"))]
)
def test_the_newest_whole_checkpoint_is_used(commands, run, name, damage):
    lines = (run / "metrics.jsonl").read_text()
    damage(run)
    outcome = commands(name)
    assert outcome.status == 0, outcome.err
    assert f"Damaged: {run}/checkpoints/ckpt-{STEPS} (" in outcome.out
    if name == "fit":  # the steps since are taken again, bit for bit
        assert (run / "metrics.jsonl").read_text() == lines
        assert checkpoints.steps(run / "checkpoints")[0] == STEPS


@pytest.mark.parametrize(
    "name", ["fit", *(pytest.param(n, marks=pytest.mark.full) for n in ("export", "explain"))]
)
def test_where_none_is_whole_nothing_is_begun_or_lost(commands, run, name):
    for path in (run / "checkpoints").glob("*.index"):
        path.write_bytes(b"")
    before = sorted(path.name for path in run.rglob("*"))
    assert_one_line(commands(name), "no checkpoint of", "can be read", f"ckpt-{STEPS}")
    assert sorted(path.name for path in run.rglob("*") if path.name != ".lock") == [
        name for name in before if name != ".lock"
    ]


def test_a_lost_state_file_begins_nothing_anew(commands, run):
    (run / "checkpoints" / "checkpoint").write_text("another text")
    lines = (run / "metrics.jsonl").read_text()
    outcome = commands("fit")
    assert outcome.status == 0
    assert f"{run} is finished: {STEPS} steps" in outcome.out
    assert (run / "metrics.jsonl").read_text() == lines


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("config.yaml", "", "config.yaml is empty"),
        ("samples.json", "", "samples.json is damaged: restore it"),
        ("metrics.jsonl", '[1]\n{"step": 30}\n', "metrics.jsonl line 1: expected"),
    ],
)
def test_other_damaged_files_are_named(commands, run, name, text, said):
    (run / name).write_text(text)
    assert_one_line(commands("fit"), said)
    assert (run / name).read_text() == text
    if name == "config.yaml":
        assert_one_line(commands("export"), said)


def test_the_scores_of_a_resumed_run_are_those_of_one_that_was_not_stopped(commands, run):
    """Of the losses too: the epoch's sums belong to the checkpoint."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for path in files(run, STEPS):
        path.unlink()
    assert commands("fit").status == 0
    again = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert again == lines
    assert all(np.isfinite(line["loss"]) for line in again)
