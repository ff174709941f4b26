"""`python -m train check --data.name NAME --data.root ROOT`: is this data what it should be?"""

import io
import itertools
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfsegloss.core.command_line import check_writable
from train.common.cli import make_parser
from train.common.errors import UserError
from train.common.pictures import overlay, picture_sheet
from train.config import DataConfig
from train.data.datasets.dataset import Dataset
from train.data.datasets.registry import find_dataset
from train.data.decoding.palette import IGNORED
from train.data.samples.decode import decode_sample
from train.data.samples.samples import FileSamples, Samples
from train.data.samples.statistics import SplitStatistics, collect_statistics

SHOWN = 4  # images of each split on the sheet
ORIENTATION = 0x0112  # its tag in EXIF
NAMED = 5  # of each kind of duplicate


@dataclass(frozen=True)
class Split:
    """A split, and what was found in it."""

    name: str
    samples: Samples
    statistics: SplitStatistics


def check_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = make_parser(
        description="Read every file of a dataset's two splits; print what they hold, and "
        "everything that is wrong: files that cannot be decoded, unknown ids and colors, label "
        "maps of another size than their image or without any label, classes that are missing, "
        "images that are there twice, unexpected numbers of samples. Draw labels over images. Exit "
        "status 1 if something is wrong."
    )
    # Here everything is verified, and nothing stops.
    parser.add_class_arguments(DataConfig, "data", skip={"verify", "on_error"})
    parser.add_argument(
        "--output",
        type=Path | None,
        default=None,
        help="The picture, a PNG; default: `runs/check/NAME.png`.",
    )
    return parser


def check(values: Namespace) -> None:
    """Prints the report, draws the sheet, and ends with status 1 if something is wrong.

    Raises:
        UserError: The dataset cannot be listed, or the picture not be written.
    """
    options = values.data
    dataset = find_dataset(options.name, options.root)
    output = values.output or Path("runs/check") / f"{dataset.name}.png"
    if values.output is None:
        output.parent.mkdir(parents=True, exist_ok=True)
    try:
        check_writable(output, (".png",), others=())
    except ValueError as error:
        raise UserError(f"output: {error}") from None
    splits = []
    for name in dict.fromkeys([options.train_split, options.val_split]):
        samples = dataset.samples(name, options.root)
        splits.append(
            Split(
                name, samples, collect_statistics(samples, dataset.num_classes, f"reading {name}")
            )
        )
    console = Console()
    console.print(table(splits, dataset))
    for split in splits:
        line = f"{split.name}: {'; '.join(facts(split, dataset))}"
        console.print(line, soft_wrap=True, markup=False)
    if draw_sheet(splits, dataset, output):
        console.print(f"Labels over images: {output}", soft_wrap=True, markup=False)
    problems = [*problems_of(splits, dataset, options.train_split)]
    for problem in problems:
        console.print(f"wrong: {problem}", soft_wrap=True, markup=False, highlight=False)
    if problems:
        sys.exit(1)
    console.print("Nothing is wrong.")


def table(splits: Sequence[Split], dataset: Dataset) -> Table:
    """Share of the labelled pixels and number of images by class and split."""
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


def facts(split: Split, dataset: Dataset) -> Iterator[str]:
    """What else is worth knowing of a split."""
    found, expected = split.statistics, dataset.splits[split.name]
    good = [i for i in range(len(split.samples)) if i not in found.faults]
    count = f"{len(split.samples)}" + (f" of {expected}" if expected else "")
    yield f"{count} samples" + (f", {len(found.faults)} of them wrong" if found.faults else "")
    if kind := split.samples.found:
        yield kind
    if not good:
        return
    ids = [*np.flatnonzero(found.pixels.any(axis=0)), *([IGNORED] if found.ignored.any() else [])]
    yield f"ids, as trained on, {', '.join(map(str, ids))}"
    share = found.ignored.sum() / max(found.ignored.sum() + found.pixels.sum(), 1)
    yield f"{100 * share:.2f} % of the pixels ignored"
    sizes = Counter(map(tuple, found.sizes[good].tolist())).most_common()
    shown = ", ".join(f"{w}×{h}: {count}" for (h, w), count in sizes[:3])
    rest = f" and {len(sizes) - 3} others" if sizes[3:] else ""
    yield f"sizes (width×height) {shown}{rest}"


def problems_of(splits: Sequence[Split], dataset: Dataset, train_split: str) -> Iterator[str]:
    """Everything that is wrong, a line each."""
    for split in splits:
        expected = dataset.splits[split.name]
        if expected and len(split.samples) != expected:
            yield f"{split.name} has {len(split.samples)} samples, expected {expected}"
        yield from split.statistics.faults.values()
        yield from _empty(split)
        yield from _turned(split)
        yield from _equal(split, split)
        if split.name == train_split:
            for i in np.flatnonzero(~split.statistics.pixels.any(axis=0)):
                yield f"no pixel of {split.name} has the class {i}, {dataset.class_names[i]}"
    for one, other in itertools.combinations(splits, 2):
        yield from _equal(one, other)


def _empty(split: Split) -> Iterator[str]:
    """Samples without a single label."""
    empty = np.flatnonzero(~split.statistics.pixels.any(axis=1))
    empty = [i for i in empty if i not in split.statistics.faults]
    names = [split.samples.labels_name(i) for i in empty]
    if names:
        yield f"label maps of {split.name} without any label ({len(names)}): {_some(names)}"


def _turned(split: Split) -> Iterator[str]:
    """Images that other programs show turned or mirrored: their labels may have been drawn so."""
    good = (i for i in range(len(split.samples)) if i not in split.statistics.faults)
    names = [split.samples.image_name(i) for i in good if _is_turned(split.samples, i)]
    if names:
        what = "images whose EXIF orientation, which is not applied, turns them"
        yield f"{what} ({len(names)}): {_some(names)}"


def _is_turned(samples: Samples, index: int) -> bool:
    with _opened(samples, index) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Reads the header alone; no camera writes other formats.
            with Image.open(file, formats=["JPEG"]) as image:
                return image.getexif().get(ORIENTATION, 1) != 1
        # Whatever is the matter with its EXIF, or its size to Pillow, TensorFlow reads the image.
        except Exception:
            return False


def _opened(samples: Samples, index: int) -> BinaryIO:
    """An image's bytes; those of a file are not all read again."""
    if isinstance(samples, FileSamples):
        return samples.images[index].open("rb")
    return io.BytesIO(samples.read(tf.constant(index))[0].numpy())


def _equal(one: Split, other: Split) -> Iterator[str]:
    """Images that are there twice: in a split, or in both."""
    ours, theirs = _places(one), _places(other)
    if one is other:
        groups = [names for names in ours.values() if names[1:]]
        where = f"twice in {one.name}"
    else:
        groups = [ours[key] + theirs[key] for key in ours if key in theirs]
        where = f"in {one.name} and in {other.name}"
    if groups:
        # A file that both splits list has one name.
        equal = [" = ".join(dict.fromkeys(names)) for names in groups]
        yield f"images that are {where} ({len(groups)}): {_some(equal)}"


def _places(split: Split) -> dict[int, list[str]]:
    """Names of the images by their fingerprints."""
    places = {}
    for i, fingerprint in enumerate(split.statistics.fingerprints.tolist()):
        if i not in split.statistics.faults:
            places.setdefault(fingerprint, []).append(split.samples.image_name(i))
    return places


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if names[NAMED:] else ""
    return ", ".join(names[:NAMED]) + more


def draw_sheet(splits: Sequence[Split], dataset: Dataset, output: Path) -> bool:
    """Writes a picture of some images of each split with their labels over them, if there are any.

    Returns:
        Whether there are.
    """
    rows = []
    for split in splits:
        good = [i for i in range(len(split.samples)) if i not in split.statistics.faults]
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
        sheet.save(output)
    return bool(rows)
