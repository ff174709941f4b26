"""CamVid from SegNet's files and from the original ones."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from train.common.errors import UserError
from train.data.datasets import scenes
from train.data.datasets.camvid import CAMVID, ORIGINAL_COLORS, VOID, segnet_split
from train.data.decoding.labels import decode_labels
from train.data.decoding.palette import IGNORED

SEGNET = Path(__file__).parents[4] / "../shared/data/CamVid"
# One still of each sequence, and those beside the borders of the splits.
SPLITS = {
    "0001TP_006690": "train",
    "0001TP_008520": "train",
    "0001TP_008550": "test",
    "0006R0_f00930": "train",
    "0016E5_07920": "train",
    "0016E5_07959": "val",
    "0016E5_08159": "val",
    "0016E5_08190": "train",
    "Seq05VD_f00000": "test",
}
# The file label_colors.txt that comes with the original label maps.
LABEL_COLORS = """
64 128 64 Animal
192 0 128 Archway
0 128 192 Bicyclist
0 128 64 Bridge
128 0 0 Building
64 0 128 Car
64 0 192 CartLuggagePram
192 128 64 Child
192 192 128 Column_Pole
64 64 128 Fence
128 0 192 LaneMkgsDriv
192 0 64 LaneMkgsNonDriv
128 128 64 Misc_Text
192 0 192 MotorcycleScooter
128 64 64 OtherMoving
64 192 128 ParkingBlock
64 64 0 Pedestrian
128 64 128 Road
128 128 192 RoadShoulder
0 0 192 Sidewalk
192 128 128 SignSymbol
128 128 128 Sky
64 128 192 SUVPickupTruck
0 0 64 TrafficCone
0 64 64 TrafficLight
192 64 128 Train
128 128 0 Tree
192 128 192 Truck_Bus
64 0 64 Tunnel
192 192 0 VegetationMisc
0 0 0 Void
64 192 0 Wall
"""


@pytest.fixture
def segnet(tmp_path):
    """SegNet's layout, the lists written for another machine."""
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
        Image.new("RGB" if folder == "train" else "L", (4, 3)).save(tmp_path / folder / "a.png")
    (tmp_path / "train.txt").write_text(
        "/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png\n\n"
    )
    return tmp_path


@pytest.fixture
def original(tmp_path):
    for folder in ("701_StillsRaw_full", "LabeledApproved_full"):
        (tmp_path / folder).mkdir()
    for name in SPLITS:
        Image.new("RGB", (4, 3)).save(tmp_path / "701_StillsRaw_full" / f"{name}.png")
        Image.new("RGB", (4, 3)).save(tmp_path / "LabeledApproved_full" / f"{name}_L.png")
    return tmp_path


def decoded(path):
    return decode_labels(tf.io.read_file(str(path)), CAMVID.encoding).numpy()


def test_segnet_lists_of_another_machine(segnet):
    samples = CAMVID.samples("train", segnet)
    assert samples.images == (segnet / "train" / "a.png",)
    assert samples.labels == (segnet / "trainannot" / "a.png",)
    assert samples.variant == "SegNet's files"


def test_segnet_ids(tmp_path):
    Image.fromarray(np.arange(12, dtype=np.uint8)[np.newaxis]).save(tmp_path / "labels.png")
    assert decoded(tmp_path / "labels.png").tolist() == [[*range(11), IGNORED]]


def test_unlabelled_pixels_as_a_class(tmp_path):
    """By id and by color; 255, which fills up crops, stays ignored."""
    twelve = CAMVID.with_unlabelled_class()
    assert twelve.class_names == (*CAMVID.class_names, "unlabelled")
    assert twelve.colors == (*CAMVID.colors, VOID)
    ids = np.array([[0, 10, 11, 255]], np.uint8)
    colors = np.array([[CAMVID.colors[0], CAMVID.colors[10], VOID, VOID]], np.uint8)
    for name, array in (("ids", ids), ("colors", colors)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    by_id, by_color = (
        decode_labels(tf.io.read_file(str(tmp_path / f"{name}.png")), twelve.encoding).numpy()
        for name in ("ids", "colors")
    )
    assert by_id.tolist() == [[0, 10, 11, IGNORED]]
    assert by_color.tolist() == [[0, 10, 11, 11]]


def test_neither_layout(segnet):
    with pytest.raises(UserError, match="no list .*val.txt of SegNet.s, and no folder .*701_"):
        CAMVID.samples("val", segnet)


def test_list_entry_without_file(segnet):
    with (segnet / "train.txt").open("a") as file:
        file.write("train/b.png trainannot/b.png\n")
    with pytest.raises(UserError, match="train.txt line 3: no file .*train/b.png"):
        CAMVID.samples("train", segnet)


def test_list_entry_that_is_no_pair(segnet):
    (segnet / "train.txt").write_text("train/a.png\n")
    with pytest.raises(UserError, match="line 1: expected an image and a label map"):
        CAMVID.samples("train", segnet)


@pytest.mark.parametrize("split", CAMVID.splits)
def test_original_files_have_the_splits_of_segnet(original, split):
    samples = CAMVID.samples(split, original)
    names = [name for name in SPLITS if SPLITS[name] == split]
    assert [path.stem for path in samples.images] == names
    assert [path.stem for path in samples.labels] == [f"{name}_L" for name in names]
    assert samples.variant == "the original files"


@pytest.mark.full
@pytest.mark.skipif(not SEGNET.is_dir(), reason="SegNet's files of CamVid are not on this machine")
@pytest.mark.parametrize("split", ["train", "val"])
def test_the_splits_by_frame_are_those_of_segnet_s_lists(split):
    samples = CAMVID.samples(split, SEGNET)
    assert len(samples) == CAMVID.splits[split]
    assert {segnet_split(path.stem) for path in samples.images} == {split}


def test_every_original_color_is_there_once():
    lines = [line.split() for line in LABEL_COLORS.split("\n") if line]
    expected = {name: (int(r), int(g), int(b)) for r, g, b, name in lines}
    colors = [*ORIGINAL_COLORS.values(), {"Void": VOID}]
    assert sum(map(len, colors)) == len(expected) == 32
    assert {name: color for group in colors for name, color in group.items()} == expected


def test_original_colors_and_segnet_s_have_the_same_classes(tmp_path):
    """They differ for pavement, which SegNet shows brighter."""
    pairs = [
        (color, scenes.CLASS_NAMES.index(name))
        for name, colors in ORIGINAL_COLORS.items()
        for color in colors.values()
    ]
    pairs += [(VOID, IGNORED), *zip(scenes.COLORS, range(11), strict=True)]
    colors, ids = zip(*pairs, strict=True)
    Image.fromarray(np.array([colors], np.uint8)).save(tmp_path / "labels.png")
    assert decoded(tmp_path / "labels.png").tolist() == [[*ids]]


def test_a_still_without_label_map(original):
    (original / "LabeledApproved_full" / "0001TP_006690_L.png").unlink()
    with pytest.raises(UserError, match="Stills.*0001TP_006690.png: no file .*0001TP_006690_L.png"):
        CAMVID.samples("train", original)


def test_a_label_map_without_still(original):
    (original / "701_StillsRaw_full" / "0001TP_006690.png").unlink()
    with pytest.raises(UserError, match="0001TP_006690_L.png: no file .*/0001TP_006690.png"):
        CAMVID.samples("train", original)


def test_a_still_of_no_sequence():
    with pytest.raises(UserError, match="cat_01.png: expected a still of 0001TP"):
        segnet_split("cat_01")
