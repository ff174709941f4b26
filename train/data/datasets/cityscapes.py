"""Cityscapes with the nineteen classes of its benchmark."""

from dataclasses import replace
from pathlib import Path

from train.common.errors import UserError
from train.data.datasets.dataset import Dataset
from train.data.decoding.labels import LabelEncoding
from train.data.decoding.palette import IGNORED
from train.data.samples.samples import FileSamples

IMAGE = "_leftImg8bit.png"
# The official files come first: users write the others, perhaps with a table they have edited.
KINDS = ("labelIds", "labelTrainIds")
# Name, id and color of each class, in the order of the training ids, from
# `cityscapesscripts.helpers.labels`; below the colors of what is ignored.
CLASSES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
# Two more labels have the color of a class, and are read as such: pole groups as poles, and
# number plates, which have no id, as cars.
IGNORED_COLORS = (
    (0, 0, 0),
    (111, 74, 0),
    (81, 0, 81),
    (250, 170, 160),
    (230, 150, 140),
    (180, 165, 180),
    (150, 100, 100),
    (150, 120, 90),
    (0, 0, 90),
    (0, 0, 110),
)
# 255 is not among them: no official script writes it, so a file that has it holds training ids
# under the wrong name.
GRAY_OF_IDS = dict.fromkeys(range(34), IGNORED) | {
    number: i for i, (_, number, _) in enumerate(CLASSES)
}


def list_cityscapes(encoding: LabelEncoding, root: Path, split: str) -> FileSamples:
    """List images of `leftImg8bit/SPLIT` and label maps of `gtFine/SPLIT`, in folders of cities.

    Args:
        encoding: What training ids and colors mean.
        root: Folder that holds `leftImg8bit` and `gtFine`.
        split: "train" or "val".

    Returns:
        The files; `variant` is "labelIds" or "labelTrainIds".

    Raises:
        UserError: A folder is missing, or an image or label map has no partner.
    """
    images = _scan(root / "leftImg8bit" / split, IMAGE)
    found = {kind: _scan(root / "gtFine" / split, f"_gtFine_{kind}.png") for kind in KINDS}
    kind = next((kind for kind in KINDS if found[kind]), KINDS[0])
    labels = found[kind]
    for name in sorted(images.keys() ^ labels.keys()):
        if name in images:
            raise UserError(f"{images[name]} has no label map {name}_gtFine_{kind}.png in gtFine")
        raise UserError(f"{labels[name]} has no image {name}{IMAGE} in leftImg8bit")
    if kind == "labelIds":
        encoding = replace(encoding, gray=GRAY_OF_IDS)
    names = sorted(images)
    return FileSamples(
        encoding, tuple(images[n] for n in names), tuple(labels[n] for n in names), variant=kind
    )


def _scan(folder: Path, ending: str) -> dict[str, Path]:
    """Return files by what partners share: the city, and the name without its ending."""
    if not folder.is_dir():
        raise UserError(f"no folder {folder}")
    files = folder.glob(f"*/*{ending}")
    return {str(f.relative_to(folder)).removesuffix(ending): f for f in files}


CITYSCAPES = Dataset(
    name="cityscapes",
    class_names=tuple(name for name, _, _ in CLASSES),
    colors=tuple(color for _, _, color in CLASSES),
    ignored_colors=IGNORED_COLORS,
    server_ids=tuple(number for _, number, _ in CLASSES),
    splits={"train": 2975, "val": 500},
    source="leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of cityscapes-dataset.com",
    license="non-commercial use, after registration; Cordts et al., 2016",
    list_split=list_cityscapes,
)
