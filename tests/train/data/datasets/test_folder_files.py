"""Own data: how splits are found, and which files are refused."""

import os

import numpy as np
import pytest
from PIL import Image

from train.common.errors import UserError
from train.data.datasets.folder import read_folder
from train.data.datasets.voc import voc_colors
from train.data.decoding.labels import decode_labels
from train.data.decoding.palette import IGNORED

NAMES = tuple(f"{i:02}" for i in range(40))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "classes.yaml").write_text("classes: [road, other]\n")
    return tmp_path


def add(root, *names, suffix=".jpg"):
    """Images and label maps."""
    for name in names:
        for path in (root / "images" / f"{name}{suffix}", root / "labels" / f"{name}.png"):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 3)).save(path)


def names_of(root, split):
    samples = read_folder(root).samples(split, root)
    images, labels = (
        [path.relative_to(root / folder).with_suffix("").as_posix() for path in paths]
        for folder, paths in (("images", samples.images), ("labels", samples.labels))
    )
    assert images == labels
    return images


def test_label_maps_with_voc_s_palette_need_no_colors(root):
    add(root, "a")
    labels = Image.fromarray(np.array([[0, 1, 255]], np.uint8))
    labels.putpalette(np.array(voc_colors(256), np.uint8).tobytes())
    labels.save(root / "labels" / "a.png")
    (root / "train.txt").write_text("a\n")
    samples = read_folder(root).samples("train", root)
    ids = decode_labels(samples.read(0)[1], samples.encoding)
    assert ids.numpy().tolist() == [[0, 1, IGNORED]]


def test_splits_by_lists(root):
    add(root, "b", "town/a", "c", "unlisted")
    (root / "train.txt").write_text("town/a\n\nb\n")
    (root / "val.txt").write_text("c\n")
    assert names_of(root, "train") == ["town/a", "b"]
    assert names_of(root, "val") == ["c"]
    assert dict(read_folder(root).splits) == {"train": None, "val": None}
    (root / "test.txt").write_text("b\n")
    assert [*read_folder(root).splits] == ["train", "val", "test"]
    assert names_of(root, "test") == ["b"]


def test_splits_by_folders(root):
    add(root, "train/b", "train/town/a", "val/c")
    assert names_of(root, "train") == ["train/b", "train/town/a"]
    assert names_of(root, "val") == ["val/c"]
    assert [*read_folder(root).splits] == ["train", "val"]
    add(root, "test/d")
    assert [*read_folder(root).splits] == ["train", "val", "test"]
    assert names_of(root, "test") == ["test/d"]


def test_images_for_which_there_are_no_labels_yet_do_not_keep_from_training(root):
    add(root, "train/a", "test/b")
    (root / "labels" / "test" / "b.png").unlink()
    assert names_of(root, "train") == ["train/a"]
    with pytest.raises(UserError, match="b.jpg has no label map"):
        names_of(root, "test")


@pytest.mark.parametrize(("count", "fifth"), [(2, 1), (3, 1), (7, 1), (8, 2), (20, 4), (40, 8)])
@pytest.mark.parametrize("pattern", ["{}", "image{}", "IMG_{:04}"])
def test_a_fifth_is_for_validation(root, count, fifth, pattern):
    names = sorted(pattern.format(i) for i in range(count))
    add(root, *names)
    train, val = names_of(root, "train"), names_of(root, "val")
    assert len(val) == fifth
    assert sorted((*train, *val)) == names
    assert train == sorted(train)


def test_one_image_is_no_two_splits(root):
    add(root, "a")
    with pytest.raises(UserError, match="no split 'train' of 1 images: a fifth of at least two"):
        names_of(root, "train")


def test_nearly_all_images_stay_in_their_split_when_others_come(root):
    names = [f"{i:03}" for i in range(100)]
    add(root, *names[:90])
    before = {*names_of(root, "val")}
    add(root, *names[90:])
    after = {*names_of(root, "val")} & {*names[:90]}
    assert len(before ^ after) <= 2


@pytest.mark.parametrize("val", ["valid", "Validation", "VAL"])
def test_other_names_of_splits(root, val):
    add(root, "Training/a", f"{val}/b", "testing/c")
    assert [*read_folder(root).splits] == ["train", "val", "test"]
    for split, name in {"train": "Training/a", "val": f"{val}/b", "test": "testing/c"}.items():
        assert names_of(root, split) == [name]


def test_folders_of_images_and_labels_may_be_written_in_two_ways(root):
    add(root, "train/a", "valid/b")
    (root / "labels" / "valid").rename(root / "labels" / "Val")
    (root / "labels" / "Val" / "b.png").rename(root / "labels" / "Val" / "b_mask.png")
    samples = read_folder(root).samples("val", root)
    assert samples.labels == (root / "labels" / "Val" / "b_mask.png",)


def test_lists_have_other_names_too(root):
    add(root, "a", "b")
    (root / "training.txt").write_text("a\n")
    (root / "Valid.txt").write_text("b\n")
    assert (names_of(root, "train"), names_of(root, "val")) == (["a"], ["b"])


def test_two_folders_of_one_split_are_refused(root):
    add(root, "train/a", "val/b", "valid/c")
    with pytest.raises(
        UserError, match="images/val and .*images/valid are both of the split 'val'"
    ):
        read_folder(root)


def test_an_image_of_no_split_is_refused(root):
    add(root, "train/a", "val/b", "more/c")
    with pytest.raises(UserError, match="more/c.jpg is of no split: beside train, val in"):
        names_of(root, "train")


def test_a_split_without_folder_is_named_and_never_drawn(root):
    add(root, "train/a", "train/b")
    with pytest.raises(UserError, match="no split 'val' beside .*images/train: .* or validation"):
        names_of(root, "val")


@pytest.mark.parametrize(
    "ending", ["_mask", "_label", "-labels", "_gt", ".jpg", ".jpg_mask", "_Seg"]
)
def test_longer_names_of_label_maps(root, ending):
    add(root, "train/a.1", "train/b_mask")
    labels = root / "labels" / "train" / "a.1.png"
    labels.rename(labels.with_name(f"a.1{ending}.png"))
    samples = read_folder(root).samples("train", root)
    assert [path.stem for path in samples.labels] == [f"a.1{ending}", "b_mask"]


def test_two_label_maps_of_one_image_are_refused(root):
    add(root, "train/a")
    Image.new("L", (4, 3)).save(root / "labels" / "train" / "a_mask.png")
    with pytest.raises(UserError, match="a.png and .*a_mask.png are of one image: which is meant"):
        names_of(root, "train")


def test_accents_may_be_one_character_or_two(root):
    add(root, "train/caf\u00e9")
    labels = root / "labels" / "train" / "caf\u00e9.png"
    labels.rename(labels.with_name("cafe\u0301.png"))
    samples = read_folder(root).samples("train", root)
    assert (len(samples.images), len(samples.labels)) == (1, 1)
    (root / "train.txt").write_text("train/cafe\u0301\n")
    assert len(read_folder(root).samples("train", root)) == 1


def test_a_list_may_have_suffixes_and_remarks(root):
    add(root, "a", "b.1", "c #1", "d")
    (root / "train.txt").write_text("# the good ones\na.jpg\nb.1.JPG\nc #1\nd # blurred\n")
    assert names_of(root, "train") == ["a", "b.1", "c #1", "d"]


def test_a_pipe_is_no_image(root):
    add(root, "train/a")
    os.mkfifo(root / "images" / "train" / "b.png")
    with pytest.raises(UserError, match="b.png: expected a file"):
        names_of(root, "train")


def test_control_characters_in_names_are_refused(root):
    add(root, "train/a\x1b[2J")
    with pytest.raises(UserError, match=r"x1b\[2J.jpg': expected a file name without control"):
        names_of(root, "train")


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".PNG"])
def test_suffixes_of_images(root, suffix):
    add(root, "train/a", suffix=suffix)
    assert names_of(root, "train") == ["train/a"]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("labels/{}.png", "images/{0}.jpg has no label map .*labels/{0}.png"),
        ("images/{}.jpg", "labels/{0}.png has no image .*images/{0}.jpg or"),
    ],
)
def test_what_has_no_partner_is_named(root, missing, message):
    add(root, *NAMES)
    val = names_of(root, "val")[0]
    (root / missing.format(val)).unlink()
    with pytest.raises(UserError, match=message.format(val)):
        names_of(root, "val")


def test_a_jpeg_is_no_label_map(root):
    add(root, "train/a")
    label_map = root / "labels" / "train" / "a.png"
    label_map.rename(label_map.with_suffix(".jpg"))
    with pytest.raises(UserError, match="labels/train/a.jpg: a label map must be a PNG: other"):
        names_of(root, "train")
    (root / "train.txt").write_text("train/a\n")
    with pytest.raises(UserError, match="labels/train/a.jpg: a label map must be a PNG: other"):
        names_of(root, "train")


def test_an_image_of_another_format(root):
    add(root, "train/a")
    image = root / "images" / "train" / "a.jpg"
    image.rename(image.with_suffix(".tif"))
    with pytest.raises(UserError, match="images/train/a.tif: an image must be a JPEG or PNG"):
        names_of(root, "train")


def test_a_listed_name_may_start_at_the_folder(root):
    add(root, "a")
    (root / "train.txt").write_text("./a\n")
    assert names_of(root, "train") == ["a"]


def test_a_listed_name_is_no_path(root):
    add(root, "a")
    (root / "train.txt").write_text(f"{root}/images/a\n")
    with pytest.raises(UserError, match="train.txt line 1: no file /.* names below that folder"):
        names_of(root, "train")


def test_links_to_folders_around_them_are_left_out(root):
    add(root, "train/a")
    for name in ("one", "two"):
        for folder in ("images", "labels"):
            (root / folder / "train" / name).symlink_to(root / folder)
    assert names_of(root, "train") == ["train/a"]


def test_folders_may_be_links(root, tmp_path):
    add(tmp_path / "elsewhere", "a")
    for folder in ("images", "labels"):
        (root / folder).mkdir()
        (root / folder / "train").symlink_to(tmp_path / "elsewhere" / folder)
    assert names_of(root, "train") == ["train/a"]


def test_a_folder_is_no_image_whatever_its_name(root):
    add(root, "train/a")
    (root / "images" / "train" / "b.png").mkdir()
    assert names_of(root, "train") == ["train/a"]


def test_names_that_are_not_unicode_are_refused(root):
    add(root, "train/a", os.fsdecode(b"train/stra\xdfe"))
    with pytest.raises(UserError, match=r"stra\\xdfe.jpg': expected a file name in UTF-8"):
        names_of(root, "train")


def test_two_images_of_one_name(root):
    add(root, "a")
    add(root, "a", suffix=".png")
    with pytest.raises(UserError, match="a.jpg and .*a.png have one name"):
        names_of(root, "train")


def test_what_file_managers_leave_is_no_image(root):
    add(root, "train/a")
    (root / "images" / "train" / "._a.jpg").write_bytes(b"")
    assert names_of(root, "train") == ["train/a"]


def test_a_listed_name_without_file(root):
    add(root, "a")
    (root / "train.txt").write_text("a\nb.jpg\n")
    with pytest.raises(
        UserError, match="train.txt line 2: no file b.jpg in .*names below that folder"
    ):
        names_of(root, "train")


def test_a_missing_list(root):
    add(root, "a")
    (root / "train.txt").write_text("a\n")
    with pytest.raises(
        UserError, match="no split 'val' beside .*train.txt: expected a list val.txt"
    ):
        names_of(root, "val")


def test_missing_folders(root):
    with pytest.raises(UserError, match="no folder .*/images; own data need"):
        names_of(root, "train")
