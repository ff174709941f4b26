"""`python -m train weights --data.name NAME --split SPLIT`: class weights for a recipe."""

from typing import Literal

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from train.common.cli import make_parser
from train.common.errors import UserError
from train.config import DataConfig
from train.data.datasets.registry import find_dataset
from train.data.samples.statistics import class_counts, list_skipped, validate_samples
from train.reports.class_weights import weights_table
from train.runs.class_weights import METHODS


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(description="Class weights from the labels of a split, for a recipe.")
    without = {"verify", "train_split", "val_split"}
    parser.add_class_arguments(DataConfig, "data", skip=without)
    parser.add_argument(
        "--split", type=str, default="train", help="Split of the dataset, such as train or val."
    )
    parser.add_argument(
        "--method",
        type=Literal[tuple(METHODS)],
        default="median_frequency",
        help="How a weight follows from a class' frequency in the images in which it occurs: the "
        "median frequency over it, or its inverse scaled to a mean of 1.",
    )
    return parser


def run(values: Namespace) -> None:
    """Count the labels of a split; print the table and the line for a recipe."""
    dataset = find_dataset(values.data.name, values.data.root, values.data.unlabelled_as_class)
    samples = dataset.samples(values.split, values.data.root)
    skip = values.data.on_error == "skip"
    samples, statistics, faults = validate_samples(samples, dataset.num_classes, skip=skip)
    counts = class_counts(statistics)
    if not counts.pixels.any():
        raise UserError(f"no pixel of {dataset.name} {values.split} has a class")
    weights = METHODS[values.method](counts.pixels, counts.image_pixels)
    title = f"{dataset.name} {values.split}: {len(samples)} images, {values.method}"
    Console().print(weights_table(counts, weights, dataset, title))
    list_skipped(faults)
    print(f"class_weights: [{', '.join(f'{weight:.4g}' for weight in weights)}]")
