"""What `python -m train check` says of a dataset: classes, facts, and a sheet of images."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from rich.markup import escape
from rich.table import Table

from train.data.datasets.dataset import Dataset
from train.data.datasets.problems import ReadSplit
from train.data.decoding.palette import IGNORED
from train.data.samples.decode import decode_sample
from train.reports.pictures import overlay, picture_sheet, save

SHOWN = 4  # images of each split on the sheet


def class_table(splits: Sequence[ReadSplit], dataset: Dataset) -> Table:
    """Return the share of the labelled pixels and number of images by class and split."""
    sheet = Table(title=f"{dataset.name} ({dataset.license})")
    sheet.add_column("id", justify="right")
    sheet.add_column("class")
    for split in splits:
        sheet.add_column(f"{split.name}\npixels %", justify="right")
        sheet.add_column("\nimages", justify="right")
    for i, name in enumerate(dataset.class_names):
        cells = []
        for split in splits:
            pixels = split.statistics.pixels
            share = pixels[:, i].sum() / max(pixels.sum(), 1)
            cells += [f"{100 * share:.2f}", f"{np.count_nonzero(pixels[:, i])}"]
        sheet.add_row(f"{i}", escape(name), *cells)
    return sheet


def facts(split: ReadSplit, dataset: Dataset) -> Iterator[str]:
    """Yield what else is worth knowing of a split."""
    found, expected = split.statistics, dataset.expected(split.name)
    count = f"{len(split.samples)}" + (f" of {expected}" if expected else "")
    yield f"{count} samples" + (f", {len(found.faults)} of them wrong" if found.faults else "")
    if split.samples.variant:
        yield split.samples.variant
    if not split.good:
        return
    ids = [*np.flatnonzero(found.pixels.any(axis=0)), *([IGNORED] if found.ignored.any() else [])]
    yield f"ids, as trained on, {', '.join(map(str, ids))}"
    share = found.ignored.sum() / max(found.ignored.sum() + found.pixels.sum(), 1)
    yield f"{100 * share:.2f} % of the pixels ignored"
    sizes = Counter(map(tuple, found.sizes[split.good].tolist())).most_common()
    shown = ", ".join(f"{w}×{h}: {count}" for (h, w), count in sizes[:3])
    rest = f" and {len(sizes) - 3} others" if sizes[3:] else ""
    yield f"sizes (width×height) {shown}{rest}"


def draw_sheet(splits: Sequence[ReadSplit], dataset: Dataset, output: Path) -> bool:
    """Write a picture of some images of each split with their labels over them, if there are any.

    Returns:
        Whether there are.
    """
    rows = []
    for split in splits:
        good = split.good
        if good:
            shown = np.unique(np.linspace(0, len(good) - 1, SHOWN).astype(int))
            for i in shown:
                parts = split.samples.read(tf.constant(good[i]))
                image, ids = (part.numpy() for part in decode_sample(*parts, split.samples))
                rows.append([image, overlay(image, ids, dataset.colors)])
    if rows:
        titles = ("image", "labels over it")
        ignored = "ignored (not painted)"
        sheet = picture_sheet(rows, titles, dataset.class_names, dataset.colors, ignored)
        save(sheet, output)
    return bool(rows)
