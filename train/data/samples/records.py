"""Splits as sharded TFRecords: written whole or not at all, read at any place, checked by sums.

A shard `val-00002-of-00005.tfrecord` holds `tf.train.Example`s with the keys of DeepLab's own
TFRecords, so that others can read it in sequence. Its index, `val-00002-of-00005.json`, says where
each of them lies, so that here they can be read in any order, and what it holds.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from train.common.errors import UserError
from train.common.files import write_whole
from train.data.decoding.errors import DataError, require
from train.data.decoding.labels import LabelEncoding
from train.data.decoding.palette import IGNORED
from train.data.samples.samples import Samples
from train.data.samples.statistics import SplitStatistics, fingerprint

IMAGE, LABELS = "image/encoded", "image/segmentation/class/encoded"
# Bytes before a record: its length and the length's checksum; bytes after it: its own checksum.
HEADER, FOOTER = 12, 4
DAMAGED = "the record is damaged: run `train prepare` again, which writes its shard anew"


@dataclass(frozen=True)
class RecordSamples(Samples):
    """Samples as records.

    Args:
        encoding: What the gray levels of the label maps mean: themselves.
        shards: Files of records.
        names: What the samples are called.
        shard_of: Number of each sample's shard, int64 `[N]`.
        offsets: Where its record starts, bytes, int64 `[N]`.
        lengths: Bytes of its record, int64 `[N]`.
        fingerprints: Of its record, uint64 `[N]`.
        statistics: What the samples held when they were written.
    """

    encoding: LabelEncoding
    shards: tuple[Path, ...]
    names: tuple[str, ...]
    shard_of: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    fingerprints: np.ndarray
    statistics: SplitStatistics

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Read the two parts of a record, which are what was written.

        Raises:
            DataError: In eager mode, if it is not; in a graph a `tf.errors.InvalidArgumentError`.
        """
        shard = tf.constant([*map(str, self.shards)])[tf.constant(self.shard_of)[index]]
        offset, length = tf.constant(self.offsets)[index], tf.constant(self.lengths)[index]
        try:
            record = _read_record(shard, offset, length)
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError):
            raise DataError(DAMAGED) from None
        same = fingerprint(record) == tf.constant(self.fingerprints)[index]
        with tf.control_dependencies(require(same, DAMAGED)):
            parts = tf.io.parse_single_example(
                record, {key: tf.io.FixedLenFeature([], tf.string) for key in (IMAGE, LABELS)}
            )
        return parts[IMAGE], parts[LABELS]

    def subset(self, indices: Sequence[int]) -> "RecordSamples":
        """Return some of the records."""
        indices = list(indices)
        columns = ("shard_of", "offsets", "lengths", "fingerprints")
        return replace(
            self,
            names=tuple(self.names[i] for i in indices),
            statistics=self.statistics.subset(indices),
            **{column: getattr(self, column)[indices] for column in columns},
        )

    def joined(self, others: Sequence["RecordSamples"]) -> "RecordSamples":
        """Return these records and after them others."""
        every = [self, *others]
        starts = np.cumsum([0, *(len(each.shards) for each in every)])
        shard_of = [each.shard_of + start for each, start in zip(every, starts, strict=False)]
        columns = ("offsets", "lengths", "fingerprints")
        return replace(
            self,
            shards=tuple(shard for each in every for shard in each.shards),
            names=tuple(name for each in every for name in each.names),
            shard_of=np.concatenate(shard_of),
            statistics=self.statistics.joined([each.statistics for each in others]),
            **{name: np.concatenate([getattr(each, name) for each in every]) for name in columns},
        )

    @property
    def identities(self) -> list[int]:
        """The fingerprints of the encoded images."""
        return self.statistics.fingerprints.tolist()

    def image_name(self, index: int) -> str:
        """Return shard and name."""
        return f"{self.shards[self.shard_of[index]]}: {self.names[index]}"

    labels_name = image_name


def _read_record(shard: tf.Tensor, offset: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Read the record of a shard that starts at an offset, if its own checksum is right."""
    # The operation below tf.data.TFRecordDataset, which unlike it can start at any byte.
    records = tf.raw_ops.TFRecordDatasetV2(
        filenames=[shard],
        compression_type="",
        buffer_size=HEADER + length + FOOTER,
        byte_offsets=[offset - HEADER],
    )
    records = tf.data.experimental.from_variant(records, tf.TensorSpec([], tf.string))
    return records.take(1).get_single_element()


def shard_name(split: str, shard: int, shards: int) -> str:
    """Return the name of a shard, without suffix."""
    return f"{split}-{shard:05d}-of-{shards:05d}"


def find(
    folder: Path, split: str, dataset: str, class_names: Sequence[str]
) -> RecordSamples | None:
    """Find the records of a split in a folder; None where there are none.

    Args:
        folder: Where they may be.
        split: Name of the split.
        dataset: Name of the dataset, for error messages.
        class_names: Its classes, which must be those of the records.

    Raises:
        UserError: Shards are missing, or they are of another dataset.
    """
    pattern = re.compile(rf"{re.escape(split)}-\d{{5}}-of-(\d{{5}})\.tfrecord")
    found = [match for path in folder.iterdir() if (match := pattern.fullmatch(path.name))]
    if not found:
        return None
    counts = sorted({int(match[1]) for match in found})
    if len(counts) > 1:
        raise UserError(
            f"{folder}: {split} was written in {' and in '.join(map(str, counts))} shards"
        )
    if len(found) < counts[0]:
        raise UserError(
            f"{folder}: {len(found)} of {counts[0]} shards of {split}: run `train prepare` again"
        )
    names = (f"{shard_name(split, shard, counts[0])}.tfrecord" for shard in range(counts[0]))
    indices = [read_index(folder / name) for name in names]
    for index in indices:
        if index.class_names != tuple(class_names):
            raise UserError(
                f"{folder} holds records of {index.dataset} with the classes "
                f"{', '.join(index.class_names)}; {dataset} has {', '.join(class_names)}"
            )
    return _join(dataset, indices)


@dataclass(frozen=True)
class ShardIndex:
    """What the index of a shard says, by record.

    Args:
        shard: File of the records.
        dataset: Name of the dataset.
        class_names: Its classes.
        names: What the samples are called.
        statistics: What the samples hold.
        offsets, lengths: Where the records are, int64 `[N]`; None as long as they are not.
        fingerprints: Of the records, uint64 `[N]`.
    """

    shard: Path
    dataset: str
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    statistics: SplitStatistics
    offsets: np.ndarray | None = None
    lengths: np.ndarray | None = None
    fingerprints: np.ndarray | None = None

    def describes(self, other: "ShardIndex") -> bool:
        """Tell whether the other's samples are the same, wherever its records are."""
        ours, theirs = (
            (index.class_names, index.names, *(c.tolist() for c in index.statistics.columns))
            for index in (self, other)
        )
        return ours == theirs

    def with_places(
        self, offsets: Sequence[int], lengths: Sequence[int], fingerprints: Sequence[int]
    ) -> "ShardIndex":
        """Return the index of a shard that has been written."""
        offsets, lengths = (np.array(column, np.int64) for column in (offsets, lengths))
        fingerprints = np.array(fingerprints, np.uint64)
        return replace(self, offsets=offsets, lengths=lengths, fingerprints=fingerprints)

    def write(self) -> None:
        """Write the index beside the shard."""
        columns = (self.offsets, self.lengths, self.fingerprints, *self.statistics.columns)
        columns = {
            "name": self.names,
            **dict(zip(COLUMNS, (column.tolist() for column in columns), strict=True)),
        }
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        head = json.dumps({"dataset": self.dataset, "class_names": self.class_names})
        lines = ",\n".join(map(json.dumps, rows))
        path = self.shard.with_suffix(".json")
        write_whole(path, f'{head[:-1]}, "records": [\n{lines}\n]}}\n')


# The numbers of a record in an index, and their types.
COLUMNS = {
    "offset": np.int64,
    "length": np.int64,
    "fingerprint": np.uint64,
    "pixels": np.int64,
    "ignored": np.int64,
    "size": np.int64,
    "image_fingerprint": np.uint64,
    "labels_fingerprint": np.uint64,
}


def read_index(shard: Path) -> ShardIndex:
    """Read the index of a shard.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = shard.with_suffix(".json")
    try:
        index = json.loads(path.read_text())
        records = index["records"]
        columns = [np.array([r[key] for r in records], kind) for key, kind in COLUMNS.items()]
        offsets, lengths, fingerprints, *statistics = columns
        if not len(offsets):
            raise ValueError("no records")
        return ShardIndex(
            shard,
            index["dataset"],
            tuple(index["class_names"]),
            tuple(record["name"] for record in records),
            SplitStatistics(*statistics),
            offsets,
            lengths,
            fingerprints,
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"{path} is no index of records: {error!r}") from None


def _join(dataset: str, indices: Sequence[ShardIndex]) -> RecordSamples:
    ids = {i: i for i in (*range(len(indices[0].class_names)), IGNORED)}
    first, *others = (index.statistics for index in indices)
    places = zip(
        *((index.offsets, index.lengths, index.fingerprints) for index in indices), strict=True
    )
    return RecordSamples(
        LabelEncoding(dataset, ids, {}),
        tuple(index.shard for index in indices),
        tuple(name for index in indices for name in index.names),
        np.repeat(np.arange(len(indices)), [len(index.names) for index in indices]),
        *map(np.concatenate, places),
        first.joined(others),
    )
