"""A dataset's files as records, which are read as the files are."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from train.common.errors import UserError
from train.common.files import write_whole
from train.data.datasets.dataset import UNION, Dataset, default_root
from train.data.datasets.folder import FILE, NAME
from train.data.samples.decode import raise_first_fault, reason
from train.data.samples.record_writer import write_split
from train.data.samples.samples import FileSamples
from train.data.samples.statistics import SplitStatistics, validate_samples


class WrittenSplit(NamedTuple):
    """What was written of a split: numbers of samples and shards, and what was left out."""

    name: str
    samples: int
    shards: int
    faults: list[str]


def write_dataset(
    dataset: Dataset,
    root: Path | None,
    splits: Sequence[str],
    output: Path,
    *,
    shard_megabytes: float,
    skip: bool,
) -> Iterator[WrittenSplit]:
    """Write splits as records, and yield what was written after each.

    Args:
        dataset: The dataset.
        root: Its folder; None: `data/NAME`.
        splits: Names of the splits.
        output: Folder of the records.
        shard_megabytes: About how large a shard is.
        skip: Whether wrong samples are left out; otherwise the first one is an error.

    Raises:
        UserError: A sample is wrong, or the output cannot be: it is a file, holds other records, or
            is the folder of the data, which would be read as records from then on.
    """
    root_folder = root or default_root(dataset.name)
    _check_folder(output, root_folder)
    parts: dict[str, tuple[FileSamples, SplitStatistics, list[str]]] = {}
    names = (part for split in splits for part in split.split(UNION))
    for split in dict.fromkeys(names):  # everything is checked before anything is written
        samples = dataset.samples(split, root)
        if not isinstance(samples, FileSamples):
            raise UserError(f"data.root: {root_folder} holds records already")
        parts[split] = validate_samples(samples, dataset.num_classes, skip=skip)
    output.mkdir(parents=True, exist_ok=True)
    for split, (samples, statistics, faults) in parts.items():
        try:
            shards = write_split(
                samples,
                statistics,
                dataset.class_names,
                split,
                output,
                shard_megabytes=shard_megabytes,
            )
        except tf.errors.OpError as error:
            raise_first_fault(samples)
            raise UserError(f"output: {output}: {reason(error)}") from None
        yield WrittenSplit(split, len(samples), shards, faults)
    if dataset.name == NAME:
        write_whole(output / FILE, (root_folder / FILE).read_text(encoding="utf-8"))


def _check_folder(output: Path, root: Path) -> None:
    if output.resolve() == root.resolve():
        raise UserError(f"output: {output} is the folder of the data: choose another")
    if output.exists() and not output.is_dir():
        raise UserError(f"output: {output}: expected a folder, it is a file")
    if (output / FILE).exists() and not any(output.glob("*.tfrecord")):
        raise UserError(f"output: {output} holds own data: choose another")
