"""Files and folders that are never seen half-written."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from train.common.errors import UserError
from train.common.files import check_folder, whole_file, whole_folder, write_whole


def write_half(path):
    with whole_file(path) as unfinished:
        unfinished.write_text("half")
        raise KeyboardInterrupt


def fill_half(folder):
    with whole_folder(folder) as unfinished:
        (unfinished / "half").touch()
        raise KeyboardInterrupt


def test_a_file_is_replaced_when_it_is_whole(tmp_path):
    path = tmp_path / "scores.json"
    write_whole(path, "before")
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert path.read_text() == "before"
    with whole_file(path) as unfinished:
        unfinished.write_text("all")
        assert path.read_text() == "before"
    assert path.read_text() == "all"
    assert [*tmp_path.iterdir()] == [path]


def test_a_folder_is_there_when_it_is_whole(tmp_path):
    folder = tmp_path / "new" / "model"
    with pytest.raises(KeyboardInterrupt):
        fill_half(folder)
    assert [*folder.parent.iterdir()] == []
    with whole_folder(folder) as unfinished:
        (unfinished / "all").touch()
        assert not folder.exists()
    assert [path.name for path in folder.iterdir()] == ["all"]
    with pytest.raises(OSError, match="not empty"), whole_folder(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["all"]


def test_what_killed_processes_left_is_removed_and_no_more(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = [f".exp-{platform.node()}-{ended.pid}", f".scores.json-{platform.node()}-{ended.pid}"]
    kept = [f".exp-{platform.node()}-{os.getppid()}", f".exp-another.host-{ended.pid}", ".exp-1"]
    for name in (*left, *kept):
        if name.startswith(".exp"):
            (tmp_path / name / "variables").mkdir(parents=True)
        else:
            (tmp_path / name).touch()
    write_whole(tmp_path / "scores.json", "{}")
    with whole_folder(tmp_path / "exp"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"scores.json", "exp", *kept}


def test_a_folder_may_be_made_but_not_in_the_place_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores").touch()
    check_folder(Path("train/results"), "results")
    with pytest.raises(UserError, match="^results: scores/camvid: expected a folder, .*scores is"):
        check_folder(Path("scores/camvid"), "results")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, _mode: path != tmp_path)
    with pytest.raises(UserError, match=f"the folder {tmp_path} cannot be written to"):
        check_folder(tmp_path / "results", "results")
