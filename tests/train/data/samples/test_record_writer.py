"""Records are written whole or not at all; what is whole already stays."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.train.data.samples.scene_records import shards, times, write
from train.common.errors import UserError
from train.data.datasets.cityscapes import CITYSCAPES
from train.data.datasets.registry import SCENES
from train.data.samples import record_writer
from train.data.samples.decode import read_all
from train.data.samples.statistics import collect_statistics


class Killed(BaseException):
    """What `except Exception` does not stop."""


def test_a_stopped_preparation_goes_on_where_it_was(
    train_samples, statistics, whole, tmp_path, monkeypatch
):
    example, calls = record_writer._example, []

    def until_the_fourth(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise Killed
        return example(*arguments)

    monkeypatch.setattr(record_writer, "_example", until_the_fourth)
    with pytest.raises(Killed):
        write(train_samples, statistics, tmp_path)
    there = shards(tmp_path)
    assert 0 < len(there) < len(shards(whole))
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(UserError, match=r"of \d shards of train: run `train prepare` again"):
        SCENES.samples("train", tmp_path)
    before = times(tmp_path)
    write(train_samples, statistics, tmp_path)
    assert times(tmp_path)[: len(there)] == before
    for ours, theirs in zip(shards(tmp_path), shards(whole), strict=True):
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_shard_of_other_labels_is_written_again(written, train_samples, statistics):
    index = shards(written)[0].with_suffix(".json")
    expected = index.read_text()
    other = json.loads(expected)
    other["records"][0]["pixels"][3] += 1
    index.write_text(json.dumps(other))
    before = times(written)
    write(train_samples, statistics, written)
    assert times(written) != before
    assert index.read_text() == expected


def test_a_damaged_shard_is_written_again_and_no_other(written, train_samples, statistics):
    path = shards(written)[1]
    contents = path.read_bytes()
    path.write_bytes(contents[:100] + bytes([contents[100] ^ 1]) + contents[101:])
    before = times(written)
    write(train_samples, statistics, written)
    assert path.read_bytes() == contents
    assert [
        i for i, pair in enumerate(zip(before, times(written), strict=True)) if len({*pair}) > 1
    ] == [1]


def test_labels_that_were_mirrored_meanwhile_are_written_again(train_samples, whole, tmp_path):
    """They have the same name, size and classes."""
    own = []
    for paths in (train_samples.images, train_samples.labels):
        own.append(tuple(Path(shutil.copy(path, tmp_path)) for path in paths))
    samples = replace(train_samples, images=own[0], labels=own[1])
    labels = Image.open(own[1][0]).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    labels.save(own[1][0])
    folder = shutil.copytree(whole, tmp_path / "records")
    write(samples, collect_statistics(samples, SCENES.num_classes), folder)
    _, ids = next(iter(read_all(SCENES.samples("train", folder))))
    np.testing.assert_array_equal(ids, np.asarray(labels))


def test_records_in_another_number_of_shards_are_not_overwritten(whole, train_samples, statistics):
    with pytest.raises(UserError, match="is of other records: choose another --output"):
        write(train_samples, statistics, whole, shard_megabytes=1000)


def test_label_ids_of_cityscapes_become_classes(tmp_path):
    root, folder = tmp_path / "cityscapes", tmp_path / "records"
    folder.mkdir()
    ids = np.array([[7, 8, 33], [0, 34 - 1, 11]], np.uint8)
    for kind, pixels, ending in (
        ("leftImg8bit", np.zeros([2, 3, 3], np.uint8), "leftImg8bit.png"),
        ("gtFine", ids, "gtFine_labelIds.png"),
    ):
        city = root / kind / "train" / "ulm"
        city.mkdir(parents=True)
        Image.fromarray(pixels).save(city / f"ulm_000001_{ending}")
    files = CITYSCAPES.samples("train", root)
    found = collect_statistics(files, CITYSCAPES.num_classes)
    record_writer.write_split(
        files, found, CITYSCAPES.class_names, "train", folder, shard_megabytes=1
    )
    samples = CITYSCAPES.samples("train", folder)
    for source in (files, samples):
        (_, read) = next(iter(read_all(source)))
        np.testing.assert_array_equal(read, [[0, 1, 18], [255, 18, 2]])
