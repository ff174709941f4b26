"""`summary.json`: what made a run, with every start of it."""

import json
import re
import subprocess

import keras
import pytest
import tensorflow as tf

import tfsegloss
from train.runs import summary
from train.runs.summary import FILE, write_summary


def read(run):
    return json.loads((run / FILE).read_text())


def write(run, step):
    write_summary(run, seed=3, step=step, replicas=2, samples={"train": 7, "val": 4})


def test_each_start_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["main", "fit", "--run", "my run"])
    write(tmp_path, 0)
    write(tmp_path, 20)
    found = read(tmp_path)
    assert (found["seed"], found["samples"]) == (3, {"train": 7, "val": 4})
    assert [start["step"] for start in found["starts"]] == [0, 20]
    first = found["starts"][0]
    assert first["command"] == "python -m train fit --run 'my run'"
    assert first["replicas"] == 2
    versions = (tfsegloss.__version__, tf.__version__, keras.__version__)
    assert tuple(first["versions"].values())[:3] == versions


def test_a_damaged_one_is_begun_anew(tmp_path):
    for text in ("", "{}", "[1]"):
        (tmp_path / FILE).write_text(text)
        write(tmp_path, 5)
        assert [start["step"] for start in read(tmp_path)["starts"]] == [5]


@pytest.mark.parametrize("changed", [False, True])
def test_the_revision_says_whether_files_were_changed(tmp_path, monkeypatch, changed):
    def git(*arguments):
        subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=b", *arguments],
            check=True,
            capture_output=True,
        )

    monkeypatch.setattr(summary, "CODE", tmp_path)
    write(tmp_path, 0)
    assert read(tmp_path)["starts"][-1]["revision"] is None
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    if changed:
        (tmp_path / FILE).write_text("{}")
    write(tmp_path, 0)
    revision = read(tmp_path)["starts"][-1]["revision"]
    assert re.fullmatch(r"[0-9a-f]{40}" + r"\+" * changed, revision)
