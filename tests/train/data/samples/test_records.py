"""Records hold what the files held, and are checked as they are read."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.train.data.samples.scene_records import shards
from train.common.errors import UserError
from train.config import InputConfig
from train.data.datasets.registry import SCENES
from train.data.decoding.errors import DataError
from train.data.input.pipeline import training_stream
from train.data.samples import records
from train.data.samples.decode import find_fault, read_all
from train.data.samples.statistics import collect_statistics

CONFIG = InputConfig(crop=(24, 32), scale=(0.5, 2.0))


def test_they_hold_the_images_bytes_and_the_ids(whole, train_samples):
    found = SCENES.samples("train", whole)
    assert isinstance(found, records.RecordSamples)
    assert len(found) == len(train_samples)
    for index, (_, ids) in enumerate(read_all(found)):
        assert found.read(index)[0] == train_samples.read(index)[0]
        np.testing.assert_array_equal(ids, np.asarray(Image.open(train_samples.labels[index])))


@pytest.mark.full
def test_the_streams_of_files_and_records_are_equal(whole, train_samples):
    streams = [
        training_stream(samples, CONFIG, batch_size=4, seed=1).take(4)
        for samples in (train_samples, SCENES.samples("train", whole))
    ]
    for (images, ids), (other_images, other_ids) in zip(*streams, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(ids, other_ids)


def test_others_can_read_them_in_sequence(whole, train_samples):
    """With TensorFlow alone, by the keys of DeepLab's own records."""
    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/filename": tf.io.FixedLenFeature([], tf.string),
        "image/height": tf.io.FixedLenFeature([], tf.int64),
        "image/segmentation/class/encoded": tf.io.FixedLenFeature([], tf.string),
    }
    stream = tf.data.TFRecordDataset([*map(str, shards(whole))])
    paths = zip(train_samples.images, train_samples.labels, strict=True)
    for (path, labels_path), record in zip(paths, stream, strict=True):
        example = tf.io.parse_single_example(record, features)
        assert example["image/encoded"].numpy() == path.read_bytes()
        assert example["image/filename"].numpy().decode() == path.stem
        assert example["image/height"] == 48
        labels = tf.io.decode_png(example["image/segmentation/class/encoded"])
        np.testing.assert_array_equal(labels[..., 0], np.asarray(Image.open(labels_path)))


def test_the_index_knows_what_they_hold(whole, statistics):
    """So that sampling by class needs no pass over the data."""
    of_index = SCENES.samples("train", whole).statistics
    for ours, theirs in zip(of_index.columns, statistics.columns, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_some_of_them(whole):
    samples = SCENES.samples("train", whole)
    some = samples.subset([4, 1])
    assert some.read(0)[0] == samples.read(4)[0]
    assert some.image_name(1) == samples.image_name(1)
    np.testing.assert_array_equal(some.statistics.pixels, samples.statistics.pixels[[4, 1]])


def test_another_split_without_records_is_named(whole):
    with pytest.raises(UserError, match="holds no records of val: run `train prepare` again"):
        SCENES.samples("val", whole)


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


# Each guards the others but itself.
PLACES = {"length": 3, "checksum of the length": 9, "record": 100, "checksum": -1}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_every_part_of_a_shard_is_guarded(written, place):
    path = shards(written)[1]
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    samples = SCENES.samples("train", written)
    faults = [fault for i in range(len(samples)) if (fault := find_fault(samples, i))]
    assert len(faults) == 1
    assert faults[0].startswith(f"{path}: ")
    assert "the record is damaged: run `train prepare` again" in faults[0]


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
