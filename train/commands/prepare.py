"""`python -m train prepare --data.name NAME --output DIR`: a dataset as records."""

from pathlib import Path

import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from train.common.cli import make_parser
from train.common.errors import UserError
from train.common.files import write_whole
from train.config import DataConfig
from train.data.datasets.dataset import default_root
from train.data.datasets.folder import FILE, NAME
from train.data.datasets.registry import find_dataset
from train.data.samples.decode import raise_first_fault, reason
from train.data.samples.record_writer import SHARD_MEGABYTES, write_split
from train.data.samples.samples import FileSamples
from train.data.samples.statistics import list_skipped, validate_samples


def prepare_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = make_parser(
        description="Write a dataset's two splits as TFRecords in shards. With --data.root OUTPUT, "
        "and the name of the dataset, all commands read them as they read the files. Given again, "
        "the command writes only what is missing, such as after an interruption."
    )
    # Every file is read: nothing can be left unverified.
    parser.add_class_arguments(DataConfig, "data", skip={"verify"})
    parser.add_argument("--output", type=Path, required=True, help="Folder of the records.")
    parser.add_argument(
        "--shard_megabytes",
        type=PositiveInt,
        default=SHARD_MEGABYTES,
        help="About how large a shard is; after an interruption whole ones are not written again.",
    )
    return parser


def prepare(values: Namespace) -> None:
    """Writes both splits.

    Raises:
        UserError: A sample is wrong, or the output cannot be: it is a file, holds other records, or
            is the folder of the data, which would be read as records from then on.
    """
    options = values.data
    dataset = find_dataset(options.name, options.root)
    root = options.root or default_root(dataset.name)
    if values.output.resolve() == root.resolve():
        raise UserError(f"output: {values.output} is the folder of the data: choose another")
    if values.output.exists() and not values.output.is_dir():
        raise UserError(f"output: {values.output}: expected a folder, it is a file")
    if (values.output / FILE).exists() and not any(values.output.glob("*.tfrecord")):
        raise UserError(f"output: {values.output} holds own data: choose another")
    parts = {}  # everything is checked before anything is written
    for split in dict.fromkeys([options.train_split, options.val_split]):
        samples = dataset.samples(split, options.root)
        if not isinstance(samples, FileSamples):
            raise UserError(f"data.root: {root} holds records already")
        parts[split] = validate_samples(
            samples, dataset.num_classes, skip=options.on_error == "skip"
        )
    values.output.mkdir(parents=True, exist_ok=True)
    for split, (samples, statistics, faults) in parts.items():
        try:
            shards = write_split(
                samples,
                statistics,
                dataset.class_names,
                split,
                values.output,
                shard_megabytes=values.shard_megabytes,
            )
        except tf.errors.OpError as error:
            raise_first_fault(samples)
            raise UserError(f"output: {values.output}: {reason(error)}") from None
        of_shards = f"{shards} shard{'s' if shards > 1 else ''}"
        print(f"{split}: {len(samples)} samples in {of_shards} in {values.output}")
        list_skipped(faults)
    if dataset.name == NAME:
        write_whole(values.output / FILE, (root / FILE).read_text(encoding="utf-8"))
