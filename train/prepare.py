"""`python -m train prepare --data.name NAME --output DIR`: a dataset as records."""

import shutil
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from train.command_line import make_parser
from train.config import DataConfig
from train.data.dataset import default_root
from train.data.datasets import find_dataset
from train.data.folder import FILE
from train.data.record_writer import write_split
from train.data.samples import FileSamples
from train.data.survey import checked
from train.errors import UserError

MEGABYTE = 2**20


def prepare_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = make_parser(
        description="Write a dataset as sharded TFRecords, which train reads as the same stream: "
        "--data.root DIR. An interrupted command goes on where it was."
    )
    parser.add_class_arguments(DataConfig, "data")
    parser.add_argument("--output", type=Path, required=True, help="Folder of the records.")
    parser.add_argument(
        "--shard_megabytes",
        type=PositiveInt,
        default=16,
        help="About how large a shard is; in larger ones a record takes longer to reach.",
    )
    return parser


def prepare(values: Namespace) -> None:
    """Writes both splits.

    Raises:
        UserError: A sample is wrong, or the folder holds other records.
    """
    options = values.data
    dataset = find_dataset(options.name, options.root)
    values.output.mkdir(parents=True, exist_ok=True)
    for split in dict.fromkeys([options.train_split, options.val_split]):
        samples = dataset.samples(split, options.root)
        if not isinstance(samples, FileSamples):
            raise UserError(f"data.root: {options.root} holds records already")
        samples, survey, faults = checked(samples, dataset.classes, skip=options.on_error == "skip")
        shards = write_split(
            samples,
            survey,
            dataset,
            split,
            values.output,
            shard_bytes=values.shard_megabytes * MEGABYTE,
        )
        print(f"{split}: {len(samples)} samples in {shards} shards in {values.output}")
        for fault in faults:
            print(f"skipped: {fault}")
    description = (options.root or default_root(dataset.name)) / FILE
    if dataset.name == "folder":
        shutil.copyfile(description, values.output / FILE)
