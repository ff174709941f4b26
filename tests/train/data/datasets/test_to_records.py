"""`python -m train prepare` from the outside: records are read like the files."""

import contextlib
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.commands import TINY_RUN, assert_one_line
from tests.train import own_data
from train.commands import prepare as command
from train.data.datasets.registry import find_dataset
from train.data.samples.decode import decode_sample

ROOT = Path(__file__).parents[4]


@pytest.fixture
def records(tmp_path):
    """Where the records go."""
    return tmp_path / "records"


@pytest.fixture
def prepare(train, records):
    """Prepare own data."""
    return lambda root, *options: train(
        "prepare", "--data.name=folder", f"--data.root={root}", f"--output={records}", *options
    )


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Own data and their records, made once, and what was printed meanwhile."""
    folder = tmp_path_factory.mktemp("once")
    options = ["--data.name=folder", f"--data.root={own_data.write(folder / 'own')}"]
    stdout = io.StringIO()
    with contextlib.redirect_stdout(stdout):
        command.run(command.parser().parse_args([*options, f"--output={folder / 'records'}"]))
    return folder, stdout.getvalue().replace(str(folder), "FOLDER").splitlines()


@pytest.fixture
def root(once, tmp_path):
    """Own data that have been prepared already, to be changed or damaged."""
    shutil.copytree(once[0], tmp_path, dirs_exist_ok=True)
    return tmp_path / "own"


def printed(outcome):
    """Return the lines of a command that did what it should; in a pipe it shows no progress."""
    assert outcome.status == 0, outcome.err
    return outcome.out.splitlines()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def ids_of(folder, split="train"):
    """Return the ids of a split, whether there are files or records."""
    samples = find_dataset("folder", folder).samples(split, folder)
    indices = map(tf.constant, range(len(samples)))
    return [decode_sample(*samples.read(i), samples)[1].numpy().tolist() for i in indices]


def test_it_says_what_it_has_written(once):
    folder, lines = once
    assert lines == [
        "train: 2 samples in 1 shard in FOLDER/records",
        "val: 2 samples in 1 shard in FOLDER/records",
    ]
    shards = [f"{split}-00000-of-00001" for split in ("train", "val")]
    files = [f"{shard}.{suffix}" for shard in shards for suffix in ("json", "tfrecord")]
    assert names(folder / "records") == ["classes.yaml", *files]
    copied, own = (folder / name / "classes.yaml" for name in ("records", "own"))
    assert copied.read_bytes() == own.read_bytes()


def test_shards_are_about_as_large_as_asked_for_and_written_again_where_missing(
    prepare, records, tmp_path
):
    root = own_data.write(tmp_path / "large", {"train": "abc"}, scale=18)
    options = ["--shard_megabytes=1", "--data.val_split=train"]
    lines = printed(prepare(root, *options))
    assert lines == [f"train: 3 samples in 3 shards in {records}"]
    for path in records.glob("train-*-of-00003.tfrecord"):
        assert 0.5 < path.stat().st_size / 2**20 < 1.5
    path = records / "train-00001-of-00003.tfrecord"
    contents, before = path.read_bytes(), times(records)
    path.unlink()
    assert printed(prepare(root, *options)) == lines
    assert path.read_bytes() == contents
    changed = {name for name, changed in times(records).items() if changed != before[name]}
    assert changed - {"classes.yaml"} == {path.name, path.with_suffix(".json").name}


def test_commands_read_records_as_they_read_the_files(train, root, records):
    """Their classes are those that are described beside them."""
    of_files, of_records = (
        printed(train("weights", "--data.name=folder", f"--data.root={folder}"))
        for folder in (root, records)
    )
    assert of_records == of_files
    assert any(" tree " in line for line in of_records)


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks")
def test_a_run_on_records_is_that_on_files(train, scenes_root, records, tmp_path):
    printed(train("prepare", f"--data.root={scenes_root}", f"--output={records}"))
    logs = []
    for name, folder in {"files": scenes_root, "records": records}.items():
        run = tmp_path / name
        assert train("fit", f"--run={run}", f"--data.root={folder}", *TINY_RUN).status == 0
        lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        logs.append([{k: v for k, v in line.items() if "second" not in k} for line in lines])
    assert logs[0] == logs[1]
    assert "val_mean_iou" in logs[0][-1]


def test_wrong_samples_stop_it_before_anything_is_written(prepare, tmp_path, records):
    root = own_data.write(tmp_path / "wrong")
    for name in "ab":
        own_data.truncate(own_data.labels(root, name))
    named = f"{own_data.labels(root, 'a')}: cannot be decoded"
    assert_one_line(prepare(root), named, "1 more", "`train check` lists all")
    assert not records.exists()


def test_a_wrong_sample_is_left_out_and_listed_where_that_is_asked_for(prepare, tmp_path, records):
    root = own_data.write(tmp_path / "wrong")
    own_data.truncate(own_data.labels(root, "a"))
    assert printed(prepare(root, "--data.on_error=skip")) == [
        f"train: 1 samples in 1 shard in {records}",
        f"skipped: {own_data.labels(root, 'a')}: cannot be decoded",
        f"val: 2 samples in 1 shard in {records}",
    ]
    assert len(ids_of(records)) == 1


def test_nothing_is_written_twice(prepare, root, records):
    before = times(records)
    assert len(printed(prepare(root))) == 2
    after = times(records)
    assert after.pop("classes.yaml") >= before.pop("classes.yaml")
    assert after == before


def test_labels_that_changed_are_written_again(prepare, root, records):
    own_data.write_labels(root, "a", np.zeros_like(own_data.IDS))
    before = ids_of(records)
    printed(prepare(root))
    assert ids_of(records) == ids_of(root) != before


def test_records_are_no_input(prepare, records, tmp_path, root):
    outcome = prepare(records, f"--output={tmp_path}/again")
    assert_one_line(outcome, f"data.root: {records} holds records already")
    assert not (tmp_path / "again").exists()


def test_the_data_s_own_folder_is_no_output(prepare, root):
    before = names(root)
    outcome = prepare(root, f"--output={root}/../own")
    assert_one_line(outcome, "output", "is the folder of the data")
    assert names(root) == before


def test_own_data_of_others_is_no_output(prepare, root, tmp_path):
    other = own_data.write(tmp_path / "other")
    (other / "classes.yaml").write_text("classes: [sea, land]")
    outcome = prepare(root, f"--output={other}")
    assert_one_line(outcome, f"output: {other} holds own data: choose another")
    assert (other / "classes.yaml").read_text() == "classes: [sea, land]"


def rename_classes(root):
    (root / "classes.yaml").write_text("classes: [sea, land]")


def rename_samples(root):
    for split, names_of_split in own_data.SPLITS.items():
        own_data.write_list(root, split, [f"new_{name}" for name in names_of_split])
        for name in names_of_split:
            for path in (own_data.image(root, name), own_data.labels(root, name)):
                path.rename(path.with_name(f"new_{path.name}"))


@pytest.mark.parametrize("change", [rename_classes, rename_samples])
def test_records_of_other_data_are_not_overwritten(prepare, root, records, change):
    before = {path.name: path.read_bytes() for path in records.iterdir()}
    change(root)
    assert_one_line(prepare(root), records / "train-00000-of-00001", "is of other records")
    assert {path.name: path.read_bytes() for path in records.iterdir()} == before


def test_a_file_is_no_output(prepare, root, tmp_path):
    (tmp_path / "file").touch()
    assert_one_line(prepare(root, "--output=file"), "output: file: expected a folder")


def start(root, records):
    """Start the command in a process of its own."""
    options = ["--data.name=folder", f"--data.root={root}", f"--output={records}"]
    return subprocess.Popen(
        [sys.executable, "-m", "train", "prepare", *options, "--shard_megabytes=1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_killed_it_leaves_whole_shards_and_the_same_command_finishes(tmp_path):
    splits = {"train": [f"{i:02}" for i in range(40)], "val": ["v"]}
    root = own_data.write(tmp_path / "own", splits, scale=18)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    output, _ = start(root, whole).communicate()
    (shards,) = map(int, re.findall(r"train: 40 samples in (\d+) shards", output))
    process = start(root, killed)
    while len(list(killed.glob("train-*.tfrecord"))) < 3:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    written = {path.name: path.read_bytes() for path in killed.glob("train-*.tfrecord")}
    assert 3 <= len(written) < shards
    for name, contents in written.items():
        assert contents == (whole / name).read_bytes()
    for kind in ("tfrecord", "json"):  # as if it had been killed while writing
        (killed / f".train-00039-of-00040.{kind}-1").touch()
    before = times(killed)
    output, _ = start(root, killed).communicate()
    assert f"train: 40 samples in {shards} shards" in output
    after = times(killed)
    assert {name: after[name] for name in written} == {name: before[name] for name in written}
    assert names(killed) == names(whole)
    for path in whole.iterdir():
        assert (killed / path.name).read_bytes() == path.read_bytes()


def test_records_of_several_splits_are_one(train, tmp_path):
    """As the files are, in the same order."""
    root = own_data.write(tmp_path / "own")
    options = ["--data.name=folder", f"--data.root={root}", "--data.train_split=train+val"]
    outcome = train("prepare", *options, "--output", tmp_path / "records")
    assert outcome.status == 0
    files, records = (
        find_dataset("folder", root).samples("val+train", folder)
        for folder in (root, tmp_path / "records")
    )
    assert len(records) == len(files) > len(find_dataset("folder", root).samples("train", root))
    assert [*map(Path, records.names)] == [Path(path.stem) for path in files.images]
    assert records.statistics.pixels.shape[0] == len(records)
    assert ids_of(tmp_path / "records", "val+train") == ids_of(root, "val+train")
