"""Records hold what the files held, are written whole, and are checked as they are read."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from train.common.errors import UserError
from train.config import InputConfig
from train.data.datasets.cityscapes import CITYSCAPES
from train.data.datasets.registry import SCENES
from train.data.decoding.errors import DataError
from train.data.input.pipeline import training_stream
from train.data.samples import record_writer, records
from train.data.samples.decode import find_fault, read_all
from train.data.samples.statistics import collect_statistics


@pytest.fixture(autouse=True)
def _other(tmp_path):
    """A second folder."""
    (tmp_path / "other").mkdir()


CONFIG = InputConfig(crop=(24, 32), scale=(0.5, 2.0))


def write(samples, folder, shard_megabytes=0.006):
    found = collect_statistics(samples, SCENES.num_classes)
    return record_writer.write_split(
        samples, found, SCENES.class_names, "train", folder, shard_megabytes=shard_megabytes
    )


@pytest.fixture
def written(train_samples, tmp_path):
    """A folder of records of the six scenes, in several shards."""
    assert 1 < write(train_samples, tmp_path) < 6
    return tmp_path


def shards(folder):
    return sorted(folder.glob("*.tfrecord"))


def test_they_hold_the_images_bytes_and_the_ids(written, train_samples):
    found = SCENES.samples("train", written)
    assert isinstance(found, records.RecordSamples)
    assert len(found) == len(train_samples)
    for index in range(len(found)):
        assert found.read(index)[0] == train_samples.read(index)[0]
    for (image, ids), (other_image, other_ids) in zip(
        read_all(found), read_all(train_samples), strict=True
    ):
        np.testing.assert_array_equal(image, other_image)
        np.testing.assert_array_equal(ids, other_ids)


def test_the_streams_of_files_and_records_are_equal(written, train_samples):
    streams = [
        training_stream(samples, CONFIG, batch_size=4, seed=1).take(4)
        for samples in (train_samples, SCENES.samples("train", written))
    ]
    for (images, ids), (other_images, other_ids) in zip(*streams, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(ids, other_ids)


def test_others_can_read_them_in_sequence(written, train_samples):
    """With TensorFlow alone, by the keys of DeepLab's own records."""
    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/filename": tf.io.FixedLenFeature([], tf.string),
        "image/height": tf.io.FixedLenFeature([], tf.int64),
        "image/segmentation/class/encoded": tf.io.FixedLenFeature([], tf.string),
    }
    stream = tf.data.TFRecordDataset([*map(str, shards(written))])
    for (_, ids), path, record in zip(
        read_all(train_samples), train_samples.images, stream, strict=True
    ):
        example = tf.io.parse_single_example(record, features)
        assert example["image/encoded"].numpy() == path.read_bytes()
        assert example["image/filename"].numpy().decode() == path.stem
        assert example["image/height"] == 48
        labels = tf.io.decode_png(example["image/segmentation/class/encoded"])
        np.testing.assert_array_equal(labels[..., 0], ids)


def test_the_index_knows_what_they_hold(written, train_samples):
    """So that sampling by class needs no pass over the data."""
    of_index = SCENES.samples("train", written).statistics
    for ours, theirs in zip(
        of_index.columns, collect_statistics(train_samples, SCENES.num_classes).columns, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_some_of_them(written):
    samples = SCENES.samples("train", written)
    some = samples.subset([4, 1])
    assert some.read(0)[0] == samples.read(4)[0]
    assert some.image_name(1) == samples.image_name(1)
    np.testing.assert_array_equal(some.statistics.pixels, samples.statistics.pixels[[4, 1]])


class Killed(BaseException):
    """What `except Exception` does not stop."""


def test_a_stopped_preparation_goes_on_where_it_was(train_samples, tmp_path, monkeypatch):
    example, calls = record_writer._example, []

    def until_the_fourth(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise Killed
        return example(*arguments)

    monkeypatch.setattr(record_writer, "_example", until_the_fourth)
    with pytest.raises(Killed):
        write(train_samples, tmp_path)
    whole = shards(tmp_path)
    assert 0 < len(whole) < write(train_samples, tmp_path / "other")
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(UserError, match=r"of \d shards of train: run `train prepare` again"):
        SCENES.samples("train", tmp_path)
    before = [path.stat().st_mtime_ns for path in whole]
    write(train_samples, tmp_path)
    assert [path.stat().st_mtime_ns for path in whole] == before
    assert len(SCENES.samples("train", tmp_path)) == len(train_samples)


def test_a_shard_of_other_labels_is_written_again(written, train_samples):
    index = shards(written)[0].with_suffix(".json")
    found = json.loads(index.read_text())
    found["records"][0]["pixels"][3] += 1
    index.write_text(json.dumps(found))
    before = [path.stat().st_mtime_ns for path in shards(written)]
    write(train_samples, written)
    changed = [path.stat().st_mtime_ns for path in shards(written)] != before
    assert changed
    assert (
        json.loads(index.read_text())["records"][0]["pixels"][3] != found["records"][0]["pixels"][3]
    )


def test_labels_that_were_mirrored_meanwhile_are_written_again(train_samples, tmp_path):
    """They have the same name, size and classes."""
    own = []
    for paths in (train_samples.images, train_samples.labels):
        own.append(tuple(Path(shutil.copy(path, tmp_path / "other")) for path in paths))
    samples = replace(train_samples, images=own[0], labels=own[1])
    write(samples, tmp_path)
    labels = Image.open(own[1][0])
    labels.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(own[1][0])
    write(samples, tmp_path)
    for (_, ids), (_, expected) in zip(
        read_all(SCENES.samples("train", tmp_path)), read_all(samples), strict=True
    ):
        np.testing.assert_array_equal(ids, expected)


def test_another_split_without_records_is_named(written):
    with pytest.raises(UserError, match="holds no records of val: run `train prepare` again"):
        SCENES.samples("val", written)


def test_records_in_another_number_of_shards_are_not_overwritten(written, train_samples):
    with pytest.raises(UserError, match="is of other records: choose another --output"):
        write(train_samples, written, shard_megabytes=1000)


def test_every_flipped_byte_is_noticed_and_named(written):
    path = shards(written)[0]
    contents = path.read_bytes()
    samples = SCENES.samples("train", written)
    inside = range(samples.offsets[0], samples.offsets[0] + samples.lengths[0])
    for place in np.random.default_rng(0).choice(inside, 50, replace=False):
        damaged = bytearray(contents)
        damaged[place] ^= 1 << int(place) % 8
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="the record is damaged"):
            samples.read(0)
        assert f"{path}: scene_000000: the record is damaged" in find_fault(samples, 0)


PLACES = {"length": 3, "checksum of the length": 9, "record": 100, "checksum": -1}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_damaged_shard_is_noticed_and_written_again(written, train_samples, place):
    path = shards(written)[1]
    contents = path.read_bytes()
    damaged = bytearray(contents)
    damaged[place] ^= 1
    path.write_bytes(damaged)
    (fault,) = collect_statistics(
        SCENES.samples("train", written), SCENES.num_classes
    ).faults.values()
    assert fault.startswith(f"{path}: ")
    assert "the record is damaged: run `train prepare` again" in fault
    before = [path.stat().st_mtime_ns for path in shards(written)]
    write(train_samples, written)
    assert path.read_bytes() == contents
    after = [path.stat().st_mtime_ns for path in shards(written)]
    assert [old == new for old, new in zip(before, after, strict=True)].count(False) == 1


def test_a_shard_that_is_not_the_index_own_is_noticed(written):
    """Its records are whole and lie where those of the index do."""
    path = shards(written)[0]
    index = path.with_suffix(".json")
    found = json.loads(index.read_text())
    found["records"][0]["fingerprint"] ^= 1
    index.write_text(json.dumps(found))
    with pytest.raises(DataError, match="the record is damaged"):
        SCENES.samples("train", written).read(tf.constant(0))


def test_a_truncated_shard_is_named(written):
    samples = SCENES.samples("train", written)
    path = shards(written)[-1]
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in find_fault(samples, len(samples) - 1)
    assert list(collect_statistics(samples, SCENES.num_classes).faults) == [len(samples) - 1]


DAMAGES = {
    "cut off": lambda text: text[:-40],
    "empty": lambda text: "{}",
    "a list": lambda text: "[1]",
    "without records": lambda text: json.dumps(json.loads(text) | {"records": []}),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_index_is_named(written, damage):
    path = shards(written)[1].with_suffix(".json")
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=f"{path} is no index of records"):
        SCENES.samples("train", written)


def test_records_of_another_dataset_are_named(written):
    path = shards(written)[1].with_suffix(".json")
    path.write_text(path.read_text().replace('"sky"', '"sea"'))
    with pytest.raises(UserError, match="holds records of scenes with the classes sea, .* has sky"):
        SCENES.samples("train", written)


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
