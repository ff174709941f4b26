"""PASCAL VOC 2012, with the further training images of SBD, and the layout of its files."""

import os
from pathlib import Path

from train.common.errors import UserError
from train.data.datasets import sbd
from train.data.datasets.dataset import Dataset, existing, read_list
from train.data.decoding.labels import LabelEncoding
from train.data.decoding.palette import IGNORED, Color
from train.data.samples.samples import FileSamples

AUGMENTED = "SegmentationClassAug"
CLASS_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "dining table", "dog", "horse", "motorbike", "person", "potted plant"),
    *("sheep", "sofa", "train", "tv/monitor"),
)


def voc_colors(count: int) -> tuple[Color, ...]:
    """Return the first colors of VOC's color map, which its development kit defines.

    Args:
        count: How many, at most 256.

    Returns:
        RGB of each id.
    """
    return tuple((_channel(i), _channel(i >> 1), _channel(i >> 2)) for i in range(count))


def _channel(number: int) -> int:
    # Every third bit of the id, from the lowest on, is a bit of the channel, from the highest on.
    return (number & 1) << 7 | (number >> 3 & 1) << 6 | (number >> 6 & 1) << 5


def list_voc(encoding: LabelEncoding, root: Path, split: str) -> FileSamples:
    """List the files that VOC's lists name, a name a line.

    Args:
        encoding: What the label maps mean.
        root: Folder that holds `ImageSets`.
        split: Name of a list.

    Returns:
        Its files.

    Raises:
        UserError: There is no list, or no file to a name.
    """
    names = read_list(_list_path(root, split))
    return _files(encoding, root, names, "SegmentationClass")


def list_voc2012(encoding: LabelEncoding, root: Path, split: str) -> FileSamples:
    """List what VOC's lists name, and `trainaug`, whose label maps are written if missing.

    Args:
        encoding: What the label maps mean.
        root: `VOC2012`, `VOCdevkit`, or the folder that holds `VOCdevkit`.
        split: "train", "val", "trainval" or "trainaug".

    Returns:
        Its files.

    Raises:
        UserError: A folder, a list or a file is missing or damaged.
    """
    home = _home(root)
    if split != "trainaug":
        return list_voc(encoding, home, split)
    if not (home / AUGMENTED).is_dir():
        sbd.write_labels(home / AUGMENTED, home, sbd.find(_around(home)), encoding)
    return _files(encoding, home, _augmented_names(home), AUGMENTED)


def _home(root: Path) -> Path:
    for home in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        if (home / "ImageSets" / "Segmentation").is_dir():
            return home
    raise UserError(
        f"no folder ImageSets/Segmentation in {root}, its VOC2012 or its VOCdevkit/VOC2012"
    )


def _around(home: Path) -> list[Path]:
    """Return `VOC2012` and the folders it lies in, up to the one that holds `VOCdevkit`."""
    home = Path(os.path.abspath(home))  # "." has no parent; links are not resolved
    above = 2 if home.parent.name == "VOCdevkit" else 1
    return [home, *home.parents[:above]]


def _augmented_names(home: Path) -> list[tuple[str, str]]:
    """Read the list where there is one, else what lies in the folder; nothing of `val`."""
    val = {name for _, name in read_list(_list_path(home, "val"))}
    path, labels = _list_path(home, "trainaug"), home / AUGMENTED
    if not path.is_file():
        names = sorted(label_map.stem for label_map in labels.glob("*.png"))
        return [(str(labels), name) for name in names if name not in val]
    names = read_list(path)
    for place, name in names:
        if name in val:
            raise UserError(f"{place}: {name} is an image of val, which trainaug must not hold")
    return names


def _list_path(home: Path, split: str) -> Path:
    return home / "ImageSets" / "Segmentation" / f"{split}.txt"


def _files(
    encoding: LabelEncoding, home: Path, names: list[tuple[str, str]], folder: str
) -> FileSamples:
    return FileSamples(
        encoding,
        tuple(existing(home / "JPEGImages" / f"{name}.jpg", place) for place, name in names),
        tuple(existing(home / folder / f"{name}.png", place) for place, name in names),
    )


VOC2012 = Dataset(
    name="voc2012",
    class_names=CLASS_NAMES,
    colors=voc_colors(len(CLASS_NAMES)),
    ignored_colors=voc_colors(256)[IGNORED:],
    # 10,582: the names of VOC's train list and of SBD's two lists, without those of VOC's val.
    splits={"train": 1464, "val": 1449, "trainval": 2913, "trainaug": 10582},
    source="VOCtrainval_11-May-2012.tar of http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    license="images under Flickr's terms of use; Everingham et al., 2015",
    list_split=list_voc2012,
)
