"""`python -m train prepare --data.name NAME --output DIR`: a dataset as records."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from train.common.cli import make_parser
from train.config import DataConfig
from train.data.datasets.registry import find_dataset
from train.data.datasets.to_records import write_dataset
from train.data.samples.record_writer import SHARD_MEGABYTES
from train.data.samples.statistics import list_skipped


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(
        description="Write a dataset's two splits as TFRecords in shards. With --data.root OUTPUT, "
        "and the name of the dataset, all commands read them as they read the files. Given again, "
        "the command writes only what is missing, such as after an interruption."
    )
    # Every file is read, so nothing can be left unverified.
    parser.add_class_arguments(DataConfig, "data", skip={"verify"})
    parser.add_argument("--output", type=Path, required=True, help="Folder of the records.")
    parser.add_argument(
        "--shard_megabytes",
        type=PositiveInt,
        default=SHARD_MEGABYTES,
        help="About how large a shard is; after an interruption whole ones are not written again.",
    )
    return parser


def run(values: Namespace) -> None:
    """Write both splits."""
    options = values.data
    for split in write_dataset(
        find_dataset(options.name, options.root, options.unlabelled_as_class),
        options.root,
        (options.train_split, options.val_split),
        values.output,
        shard_megabytes=values.shard_megabytes,
        skip=options.on_error == "skip",
    ):
        shards = f"{split.shards} shard{'s' if split.shards > 1 else ''}"
        print(f"{split.name}: {split.samples} samples in {shards} in {values.output}")
        list_skipped(split.faults)
