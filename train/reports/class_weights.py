"""What `python -m train weights` shows: the labels of a split by class, and a weight for each."""

import numpy as np
from rich.markup import escape
from rich.table import Table

from tfsegloss.metrics import class_weights
from train.data.datasets.dataset import Dataset
from train.data.samples.statistics import ClassCounts


def weights_table(counts: ClassCounts, weights: np.ndarray, dataset: Dataset, title: str) -> Table:
    """Return a row per class."""
    frequencies = class_weights.class_frequencies(counts.pixels, counts.image_pixels)
    shares = 100 * counts.pixels / counts.pixels.sum()
    sheet = Table(title=title)
    sheet.add_column("class")
    for heading in ("pixels %", "images", "frequency", "weight"):
        sheet.add_column(heading, justify="right")
    rows = zip(dataset.class_names, shares, counts.images, frequencies, weights, strict=True)
    for name, share, images, frequency, weight in rows:
        sheet.add_row(
            escape(name), f"{share:.2f}", f"{images}", f"{frequency:.4f}", f"{weight:.4g}"
        )
    return sheet
