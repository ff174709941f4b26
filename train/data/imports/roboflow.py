"""Roboflow's "semantic segmentation masks": NAME.jpg beside NAME_mask.png, `_classes.csv`.

In folders `train`, `valid` and `test`, each with a table of the gray levels and their classes.
"""

import csv
from pathlib import Path

from train.common.errors import UserError
from train.data.datasets.dataset import read_list
from train.data.datasets.folder_files import SPLIT_OF
from train.data.decoding.labels import LabelEncoding
from train.data.imports.layout import (
    Export,
    Item,
    Layout,
    Source,
    image_of,
    images_by_name,
    read_ids,
)

TABLE = "_classes.csv"
ENDING = "_mask"


def recognizes(folder: Path) -> bool:
    """Return whether a folder, or one in it, has the table."""
    return bool(_folders(folder))


def read(source: Source) -> Export:
    """Read the export."""
    folders = _folders(source.folder)
    tables = {folder: _table(folder / TABLE) for folder in folders}
    # The same in all splits, as far as a split has the class at all.
    names = tuple(dict.fromkeys(name for table in tables.values() for name in table.values()))
    items = []
    for folder, table in tables.items():
        encoding = LabelEncoding(
            folder.name, {level: names.index(name) for level, name in table.items()}, {}
        )
        images = images_by_name([source.images, folder])
        split = SPLIT_OF.get(folder.name.lower())
        for path in sorted(folder.glob(f"*{ENDING}.png")):
            name = path.stem.removesuffix(ENDING)
            items.append(
                Item(
                    name,
                    split,
                    image_of(name, images, path),
                    lambda path=path, encoding=encoding: read_ids(path, encoding),
                )
            )
    return Export(names, tuple(items))


def _folders(folder: Path) -> list[Path]:
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for path in (folder, *below) if (path / TABLE).is_file()]


def _table(path: Path) -> dict[int, str]:
    """Return the class of each gray level; the first line is a heading."""
    lines = [line for _, line in read_list(path)]
    table = {}
    for row in [[cell.strip() for cell in row] for row in csv.reader(lines)][1:]:
        if len(row) != 2 or not row[0].isdecimal() or int(row[0]) > 255 or not row[1]:
            raise UserError(f"{path}: expected lines LEVEL, CLASS, got {', '.join(row)!r}")
        if int(row[0]) in table:
            raise UserError(f"{path}: the level {row[0]} is there twice")
        table[int(row[0])] = row[1]
    return table


ROBOFLOW = Layout("roboflow", "Roboflow (semantic segmentation masks)", recognizes, read)
