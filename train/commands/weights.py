"""`python -m train weights --data.name NAME --split SPLIT`: class weights for a recipe."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import tfsegloss
from tfsegloss.metrics import class_weights
from train.common.cli import make_parser
from train.common.errors import UserError
from train.config import DataConfig
from train.data.datasets.dataset import Dataset
from train.data.datasets.registry import find_dataset
from train.data.samples.statistics import SplitStatistics, list_skipped, validate_samples

METHODS = {
    "median_frequency": tfsegloss.median_frequency,
    "inverse_frequency": tfsegloss.inverse_frequency,
}


@dataclass
class Counts:
    """Counts of a split by class, each int64 `[C]`.

    Args:
        pixels: Pixels of the class.
        image_pixels: Labelled pixels of the images in which it occurs.
        images: Number of these images.
    """

    pixels: np.ndarray
    image_pixels: np.ndarray
    images: np.ndarray


def weights_parser() -> ArgumentParser:
    """The parser of the command."""
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


def weights(values: Namespace) -> None:
    """Counts the labels of a split; prints the table and the line for a recipe."""
    dataset = find_dataset(values.data.name, values.data.root)
    samples = dataset.samples(values.split, values.data.root)
    skip = values.data.on_error == "skip"
    samples, found, faults = validate_samples(samples, dataset.num_classes, skip=skip)
    counts = count(found)
    if not counts.pixels.any():
        raise UserError(f"no pixel of {dataset.name} {values.split} has a class")
    found = METHODS[values.method](counts.pixels, counts.image_pixels)
    title = f"{dataset.name} {values.split}: {len(samples)} images, {values.method}"
    Console().print(table(counts, found, dataset, title))
    list_skipped(faults)
    print(f"class_weights: [{', '.join(f'{weight:.4g}' for weight in found)}]")


def count(found: SplitStatistics) -> Counts:
    """Counts of all samples together."""
    occurs = found.pixels > 0
    return Counts(
        pixels=found.pixels.sum(axis=0),
        image_pixels=occurs.T @ found.pixels.sum(axis=1),
        images=occurs.sum(axis=0),
    )


def table(counts: Counts, found: np.ndarray, dataset: Dataset, title: str) -> Table:
    """A row per class."""
    frequencies = class_weights.class_frequencies(counts.pixels, counts.image_pixels)
    shares = 100 * counts.pixels / counts.pixels.sum()
    sheet = Table(title=title)
    sheet.add_column("class")
    for heading in ("pixels %", "images", "frequency", "weight"):
        sheet.add_column(heading, justify="right")
    rows = zip(dataset.class_names, shares, counts.images, frequencies, found, strict=True)
    for name, share, images, frequency, weight in rows:
        sheet.add_row(
            escape(name), f"{share:.2f}", f"{images}", f"{frequency:.4f}", f"{weight:.4g}"
        )
    return sheet
