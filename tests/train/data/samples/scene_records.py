"""Writes scenes as records in shards so small that there are several."""

from train.data.datasets.registry import SCENES
from train.data.samples.record_writer import write_split


def write(samples, statistics, folder, shard_megabytes=0.006):
    folder.mkdir(exist_ok=True)
    return write_split(
        samples, statistics, SCENES.class_names, "train", folder, shard_megabytes=shard_megabytes
    )


def shards(folder):
    return sorted(folder.glob("*.tfrecord"))


def times(folder):
    """When each shard was written."""
    return [path.stat().st_mtime_ns for path in shards(folder)]
