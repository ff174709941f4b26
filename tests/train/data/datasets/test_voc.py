"""VOC 2012: its colors, its places, and `trainaug` from SBD's archive."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.io import savemat

from train.common.errors import UserError
from train.data.datasets import sbd
from train.data.datasets.voc import VOC2012, voc_colors
from train.data.decoding.labels import LabelEncoding, decode_labels
from train.data.decoding.palette import IGNORED

TRAIN, VAL = ("2007_000001", "2007_000002"), ("2007_000003",)
# SBD's train holds an image of VOC's val, and its val one of VOC's train.
SBD = {"train": ("2008_000001", *VAL), "val": ("2008_000002", TRAIN[1])}
TRAINAUG = sorted((*TRAIN, "2008_000001", "2008_000002"))
VOC_IDS = np.array([[0, 1, 20, IGNORED]], np.uint8)
SBD_IDS = np.array([[0, 2, 19, 0]], np.uint8)


@pytest.fixture
def devkit(tmp_path):
    """`VOCdevkit` with three labelled images of five."""
    home = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / folder).mkdir(parents=True)
    for name in (*TRAIN, *VAL, "2008_000001", "2008_000002"):
        Image.new("RGB", (4, 1)).save(home / "JPEGImages" / f"{name}.jpg")
    for split, names in (("train", TRAIN), ("val", VAL)):
        write_list(home / "ImageSets" / "Segmentation" / f"{split}.txt", names)
        for name in names:
            with_palette(VOC_IDS).save(home / "SegmentationClass" / f"{name}.png")
    return home.parent


@pytest.fixture
def archive(devkit):
    """SBD's archive, unpacked beside `VOCdevkit`."""
    folder = devkit.parent / "benchmark_RELEASE" / "dataset"
    (folder / "cls").mkdir(parents=True)
    for split, names in SBD.items():
        write_list(folder / f"{split}.txt", names)
        for name in names:
            write_mat(folder / "cls" / f"{name}.mat", SBD_IDS)
    return folder


def write_list(path, names):
    path.write_text("".join(f"{name}\n" for name in names))


def write_mat(path, ids):
    """SBD's struct: boundaries by class, ids, and which classes there are."""
    boundaries = np.empty([20, 1], object)
    boundaries[:] = [[np.zeros(ids.shape, np.uint8)]] * 20
    present = np.unique(ids[ids > 0])[:, np.newaxis]
    struct = {"Boundaries": boundaries, "Segmentation": ids, "CategoriesPresent": present}
    savemat(path, {"GTcls": struct}, do_compression=True)


def with_palette(ids):
    picture = Image.fromarray(ids)
    picture.putpalette(np.array(voc_colors(256), np.uint8).tobytes())
    return picture


def written(devkit):
    return devkit / "VOC2012" / "SegmentationClassAug"


def decoded(samples, index):
    return decode_labels(samples.read(index)[1], samples.encoding).numpy()


def test_the_first_and_last_colors():
    """As VOC's documentation shows them: aeroplane, bicycle, …, tv/monitor, and the border."""
    assert VOC2012.colors[:5] == (
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
    )
    assert (VOC2012.class_names[20], VOC2012.colors[20]) == ("tv/monitor", (0, 64, 128))
    assert VOC2012.ignored_colors == ((224, 224, 192),)


def test_all_256_palette_entries_decode_to_their_index(tmp_path):
    path = tmp_path / "labels.png"
    with_palette(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    code = LabelEncoding("all colors", {}, {color: i for i, color in enumerate(voc_colors(256))})
    ids = decode_labels(tf.io.read_file(str(path)), code)
    np.testing.assert_array_equal(ids, np.asarray(Image.open(path)))


@pytest.mark.parametrize("root", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_every_folder_of_the_archive_may_be_the_root(devkit, root, split):
    samples = VOC2012.samples(split, devkit.parent / root)
    home = devkit / "VOC2012"
    names = {"train": TRAIN, "val": VAL}[split]
    assert samples.images == tuple(home / "JPEGImages" / f"{name}.jpg" for name in names)
    assert samples.labels == tuple(home / "SegmentationClass" / f"{name}.png" for name in names)
    np.testing.assert_array_equal(decoded(samples, 0), VOC_IDS)


def test_another_folder(tmp_path):
    with pytest.raises(UserError, match=f"no folder ImageSets/Segmentation in {tmp_path}"):
        VOC2012.samples("train", tmp_path)


def test_splits_that_share_images_are_refused(devkit, archive):
    shared = len(VOC2012.samples("train", devkit))
    with pytest.raises(UserError, match=rf"'trainaug\+train': its splits share {shared} images"):
        VOC2012.samples("trainaug+train", devkit)


def test_trainaug_is_both_without_val(devkit, archive):
    samples = VOC2012.samples("trainaug", devkit)
    assert [path.stem for path in samples.images] == TRAINAUG
    assert samples.labels == tuple(written(devkit) / f"{name}.png" for name in TRAINAUG)
    assert {path.stem for path in written(devkit).iterdir()} == set(TRAINAUG)


def test_voc_s_own_label_maps_win(devkit, archive):
    samples = VOC2012.samples("trainaug", devkit)
    for index, name in enumerate(TRAINAUG):
        expected = VOC_IDS if name in TRAIN else SBD_IDS
        np.testing.assert_array_equal(decoded(samples, index), expected)
        with Image.open(samples.labels[index]) as labels:
            assert labels.mode == "L"


ROOTS = ("", "VOCdevkit", "VOCdevkit/VOC2012")
PLACES = [*itertools.product(("benchmark_RELEASE/dataset", "SBD/dataset", "SBD"), ROOTS, ROOTS)]


@pytest.mark.parametrize(
    ("place", "above", "root"),
    # The first and the last, and one of each place; the others in the full grid.
    [
        p if i in (0, 13, 26) else pytest.param(*p, marks=pytest.mark.full)
        for i, p in enumerate(PLACES)
    ],
)
def test_where_the_archive_may_be(devkit, archive, monkeypatch, root, above, place):
    folder = devkit.parent / above / place
    if folder != archive:
        folder.parent.mkdir(parents=True, exist_ok=True)
        archive.rename(folder)
    assert len(VOC2012.samples("trainaug", devkit.parent / root)) == len(TRAINAUG)
    monkeypatch.setattr(sbd, "write_labels", lambda *_: pytest.fail("written twice"))
    assert len(VOC2012.samples("trainaug", devkit.parent / root)) == len(TRAINAUG)


def test_a_relative_root(devkit, archive, monkeypatch):
    monkeypatch.chdir(devkit / "VOC2012")
    assert len(VOC2012.samples("trainaug", Path("."))) == len(TRAINAUG)


def test_label_maps_of_others_are_used_as_they_are(devkit):
    written(devkit).mkdir()
    for name in (*TRAIN, *VAL):
        Image.fromarray(SBD_IDS).save(written(devkit) / f"{name}.png")
    samples = VOC2012.samples("trainaug", devkit)
    assert [path.stem for path in samples.labels] == [*TRAIN]
    np.testing.assert_array_equal(decoded(samples, 0), SBD_IDS)


def test_a_list_of_others_is_used(devkit, archive):
    path = devkit / "VOC2012" / "ImageSets" / "Segmentation" / "trainaug.txt"
    write_list(path, ["2008_000002", TRAIN[0]])
    samples = VOC2012.samples("trainaug", devkit)
    assert [path.stem for path in samples.images] == ["2008_000002", TRAIN[0]]
    write_list(path, VAL)
    with pytest.raises(UserError, match="trainaug.txt line 1: 2007_000003 is an image of val"):
        VOC2012.samples("trainaug", devkit)


def test_neither_label_maps_nor_archive(devkit):
    with pytest.raises(UserError, match="SegmentationClassAug, or .* of SBD .*benchmark.tgz of"):
        VOC2012.samples("trainaug", devkit)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:200])


def without_struct(path):
    savemat(path, {"GTinst": 1})


def with_large_ids(path):
    write_mat(path, SBD_IDS + 2)


def with_three_axes(path):
    write_mat(path, SBD_IDS[np.newaxis])


DAMAGES = {
    cut_off: "",
    without_struct: "KeyError: 'GTcls'",
    with_large_ids: "expected ids from 0 to 20, got 21",
    with_three_axes: r"expected GTcls.Segmentation as uint8 \[H, W\], got uint8",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_mat_is_named_and_nothing_is_written(devkit, archive, damage):
    before = sorted((devkit / "VOC2012").iterdir())
    damage(archive / "cls" / "2008_000002.mat")
    expected = f"2008_000002.mat is no label map of VOC or SBD: .*{DAMAGES[damage]}"
    with pytest.raises(UserError, match=expected) as raised:
        VOC2012.samples("trainaug", devkit)
    assert "\n" not in str(raised.value)
    assert sorted((devkit / "VOC2012").iterdir()) == before


def test_a_damaged_png_is_named(devkit, archive):
    path = devkit / "VOC2012" / "SegmentationClass" / f"{TRAIN[0]}.png"
    path.write_bytes(b"")
    with pytest.raises(UserError, match=f"{path}: a label map must be a PNG"):
        VOC2012.samples("trainaug", devkit)
    Image.new("RGB", (4, 1), "red").save(path)
    with pytest.raises(UserError, match=f"{path}: no class of voc2012 has the color 255, 0, 0"):
        VOC2012.samples("trainaug", devkit)


def test_a_missing_mat_is_named_by_its_list(devkit, archive):
    (archive / "cls" / "2008_000002.mat").unlink()
    with pytest.raises(UserError, match="dataset/val.txt line 1: no file .*2008_000002.mat"):
        VOC2012.samples("trainaug", devkit)


@pytest.mark.parametrize("name", ["../../outside", "a/b", "/etc/a", ".."])
def test_a_list_writes_nothing_elsewhere(devkit, archive, tmp_path, name):
    ids = np.zeros([3, 4], np.uint8)
    if name.startswith("../.."):
        write_mat(archive / "cls" / f"{name}.mat", ids)
    write_list(archive / "val.txt", [name])
    with pytest.raises(UserError, match="val.txt line 1: expected a name without folder, got"):
        VOC2012.samples("trainaug", devkit)
    assert not [*tmp_path.rglob("outside.png")]


def test_another_process_may_be_faster(devkit, archive):
    for _ in range(2):
        sbd.write_labels(written(devkit), devkit / "VOC2012", archive, VOC2012.encoding)
    assert len(VOC2012.samples("trainaug", devkit)) == len(TRAINAUG)
