"""Writing a split as records, shard by shard; what is whole already stays."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from train.common.errors import UserError
from train.common.files import whole_file
from train.common.progress import progress_bars
from train.data.decoding.labels import decode_labels
from train.data.samples.records import (
    FOOTER,
    HEADER,
    IMAGE,
    LABELS,
    ShardIndex,
    read_index,
    shard_name,
)
from train.data.samples.samples import FileSamples
from train.data.samples.statistics import SplitStatistics, fingerprint

SHARD_MEGABYTES = 128  # the default
OTHER_RECORDS = "{} is of other records: choose another --output, or remove it"


def write_split(
    samples: FileSamples,
    statistics: SplitStatistics,
    class_names: Sequence[str],
    split: str,
    folder: Path,
    *,
    shard_megabytes: float,
) -> int:
    """Write a split; shards that an earlier call has finished stay.

    Args:
        samples: The samples, none of which is wrong.
        statistics: What they hold.
        class_names: Names of their classes.
        split: Name of the split.
        folder: Where the shards go.
        shard_megabytes: About how large they are.

    Returns:
        Number of shards.

    Raises:
        UserError: The folder holds records of the split in another number of shards, or of other
            data.
    """
    shards = _count_shards(samples, shard_megabytes)
    _require_no_other_shards(folder, split, shards)
    names = _names(samples)
    parts = np.array_split(np.arange(len(samples)), shards)
    indices = [
        ShardIndex(
            shard=folder / f"{shard_name(split, shard, shards)}.tfrecord",
            dataset=samples.encoding.dataset,
            class_names=tuple(class_names),
            names=tuple(names[i] for i in part),
            statistics=statistics.subset(part),
        )
        for shard, part in enumerate(parts)
    ]
    for index in indices:
        _require_same_data(index, names)
    for left in folder.glob(f".{split}-*-of-*"):  # left by killed processes
        left.unlink(missing_ok=True)
    missing = [shard for shard, index in enumerate(indices) if not _is_whole(index)]
    stream = iter(_encoded(samples, [i for shard in missing for i in parts[shard]]))
    with progress_bars() as progress:
        task = progress.add_task(f"writing {split}", total=shards)
        progress.advance(task, shards - len(missing))
        for shard in missing:
            _write_shard(indices[shard], stream)
            progress.advance(task)
    return shards


def _count_shards(samples: FileSamples, shard_megabytes: float) -> int:
    sizes = [path.stat().st_size for path in (*samples.images, *samples.labels)]
    return min(len(samples), math.ceil(sum(sizes) / (shard_megabytes * 2**20)))


def _require_no_other_shards(folder: Path, split: str, shards: int) -> None:
    """Refuse a folder that holds the split in another number of shards."""
    others = set(folder.glob(f"{split}-*-of-*.tfrecord")) - {
        folder / f"{shard_name(split, shard, shards)}.tfrecord" for shard in range(shards)
    }
    if others:
        raise UserError(OTHER_RECORDS.format(min(others)))


def _require_same_data(index: ShardIndex, names: Sequence[str]) -> None:
    """Refuse to overwrite records of other data; of the same, samples may have changed."""
    try:
        found = read_index(index.shard)
    except UserError:
        return  # there is none, or it is damaged
    same = (found.dataset, found.class_names) == (index.dataset, index.class_names)
    if not same or set(found.names).isdisjoint(names):
        raise UserError(OTHER_RECORDS.format(index.shard))


def _encoded(samples: FileSamples, indices: Sequence[int]) -> tf.data.Dataset:
    """Return encoded images, and their ids as gray PNGs, in the order of the indices."""

    def encode(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, labels = samples.read(index)
        ids = decode_labels(labels, samples.encoding)
        return image, tf.io.encode_png(ids[..., tf.newaxis])

    indices = tf.data.Dataset.from_tensor_slices(np.array(indices, np.int64))
    return indices.map(encode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _names(samples: FileSamples) -> list[str]:
    """Return the images' paths below the folder that holds them all, without suffix."""
    images = [os.path.abspath(path) for path in samples.images]
    root = os.path.commonpath([os.path.dirname(path) for path in images])
    return [os.path.splitext(os.path.relpath(path, root))[0] for path in images]


def _is_whole(index: ShardIndex) -> bool:
    """Tell whether the shard is there, undamaged, of the same images and labels."""
    if not index.shard.is_file():
        return False
    try:
        found = read_index(index.shard)
    except UserError:
        return False
    if not found.describes(index) or found.offsets.tolist() != _offsets(found.lengths).tolist():
        return False
    records = tf.data.TFRecordDataset(str(index.shard))
    records = records.map(lambda record: (tf.strings.length(record), fingerprint(record)))
    try:
        there = [*records.as_numpy_iterator()]
    except tf.errors.DataLossError:
        return False
    return there == [*zip(found.lengths, found.fingerprints, strict=True)]


def _write_shard(index: ShardIndex, stream: Iterator[tuple[tf.Tensor, tf.Tensor]]) -> None:
    """Write the stream's next samples and their index; the shard gets its name last."""
    lengths, fingerprints = [], []
    with whole_file(index.shard) as unfinished:
        with tf.io.TFRecordWriter(str(unfinished)) as writer:
            for name, size in zip(index.names, index.statistics.sizes, strict=True):
                record = _example(name, size, *(part.numpy() for part in next(stream)))
                writer.write(record)
                lengths.append(len(record))
                fingerprints.append(fingerprint(tf.constant(record)).numpy())
        index.with_places(_offsets(lengths), lengths, fingerprints).write()


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    """Return where records of these lengths start if they follow each other, int64 `[N]`."""
    steps = HEADER + np.array(lengths, np.int64) + FOOTER
    return np.cumsum(steps) - steps + HEADER


def _example(name: str, size: Sequence[int], image: bytes, labels: bytes) -> bytes:
    """Make a record; its keys are those of the TFRecords of DeepLab's own code."""
    height, width = map(int, size)
    of_bytes = {"image/filename": name.encode(), IMAGE: image, LABELS: labels}
    of_bytes["image/format"] = b"jpeg" if image[:2] == b"\xff\xd8" else b"png"
    of_bytes["image/segmentation/class/format"] = b"png"
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for key, value in of_bytes.items()
    }
    for key, value in {"image/height": height, "image/width": width, "image/channels": 3}.items():
        features[key] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)
