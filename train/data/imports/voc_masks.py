"""CVAT's "segmentation mask 1.1" and labelme's VOC export: SegmentationClass and a list of classes.

CVAT writes `labelmap.txt`, lines `NAME:R,G,B:parts:actions`, and label maps in these colors;
labelme `class_names.txt`, a name a line, and palettes with VOC's color map. Lists in
`ImageSets/Segmentation` that are called as splits are make them.
"""

from collections import Counter
from pathlib import Path

from train.common.errors import UserError
from train.data.datasets.dataset import read_list
from train.data.datasets.folder_files import SPLIT_OF
from train.data.datasets.voc import voc_colors
from train.data.decoding.labels import LabelEncoding
from train.data.decoding.palette import IGNORED, Color
from train.data.imports.layout import (
    Export,
    Item,
    Layout,
    Source,
    image_of,
    images_by_name,
    read_ids,
)

# labelme's older versions have arrays of NumPy in the second one.
FOLDERS = ("SegmentationClassPNG", "SegmentationClass")
LABELMAP, CLASS_NAMES = "labelmap.txt", "class_names.txt"


def recognizes(folder: Path) -> bool:
    """Return whether a folder has label maps and a list of classes."""
    has_list = any((folder / name).is_file() for name in (LABELMAP, CLASS_NAMES))
    return has_list and any((folder / name).is_dir() for name in FOLDERS)


def read(source: Source) -> Export:
    """Read the export."""
    folder = source.folder
    names, colors = _classes(folder)
    encoding = LabelEncoding(
        folder.name,
        {**{i: i for i in range(len(names))}, IGNORED: IGNORED},
        {
            **dict.fromkeys(voc_colors(256)[IGNORED:], IGNORED),
            **_by_color(folder / LABELMAP, colors),
        },
    )
    images = images_by_name([source.images, folder / "JPEGImages"])
    splits = _splits(folder)
    items = []
    for path in _label_maps(folder):
        name = path.stem
        items.append(
            Item(
                name,
                splits.get(name),
                image_of(name, images, path),
                lambda path=path: read_ids(path, encoding),
            )
        )
    return Export(names, tuple(items))


def _classes(folder: Path) -> tuple[tuple[str, ...], tuple[Color, ...]]:
    if (folder / LABELMAP).is_file():
        lines = [each for each in read_list(folder / LABELMAP) if not each[1].startswith("#")]
        pairs = [_labelmap_line(place, line) for place, line in lines]
        return tuple(name for name, _ in pairs), tuple(color for _, color in pairs)
    names = tuple(
        # labelme's words for them; what it ignores has no id.
        "background" if name == "_background_" else name
        for _, name in read_list(folder / CLASS_NAMES)
        if name != "__ignore__"
    )
    return names, voc_colors(len(names))


def _labelmap_line(place: str, line: str) -> tuple[str, Color]:
    name, _, rest = line.partition(":")
    numbers = rest.partition(":")[0].split(",")
    is_color = len(numbers) == 3 and all(n.strip().isdecimal() and int(n) < 256 for n in numbers)
    if not name or not is_color:
        raise UserError(f"{place}: expected NAME:R,G,B::, got {line!r}")
    return name, tuple(int(number) for number in numbers)


def _by_color(path: Path, colors: tuple[Color, ...]) -> dict[Color, int]:
    for color, count in Counter(colors).items():
        if count > 1:
            raise UserError(f"{path}: the color {','.join(map(str, color))} is there twice")
    return {color: i for i, color in enumerate(colors)}


def _label_maps(folder: Path) -> list[Path]:
    for name in FOLDERS:
        paths = sorted((folder / name).glob("*.png"))
        if paths:
            return paths
    raise UserError(f"{folder}: no PNG in {' or '.join(FOLDERS)}")


def _splits(folder: Path) -> dict[str, str]:
    """Return the split of each name, of the lists that are of splits."""
    lists = sorted((folder / "ImageSets" / "Segmentation").glob("*.txt"))
    splits: dict[str, str] = {}
    for path in lists:
        split = SPLIT_OF.get(path.stem.lower())
        for place, name in read_list(path) if split else []:
            if splits.setdefault(name, split) != split:
                raise UserError(f"{place}: {name} is of {splits[name]} too: take it out of one")
    return splits


VOC_MASKS = Layout("voc", "CVAT (segmentation mask 1.1), labelme (VOC)", recognizes, read)
