"""`python -m train check` from the outside."""

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.commands import assert_one_line
from tests.train import own_data
from tests.train.own_data import COLOURS, HEIGHT, IDS, WIDTH
from train.data.datasets import SCENES
from train.pictures import MARGIN


@pytest.fixture
def check(train):
    """Runs the command on own data."""
    return lambda root, *options: train(
        "check", "--data.name=folder", f"--data.root={root}", *options
    )


@pytest.fixture
def root(tmp_path):
    """Own data in which nothing is wrong yet."""
    return own_data.write(tmp_path / "own")


def rows(outcome):
    """The cells of the table: id, class, and share and images of each split."""
    lines = [line for line in outcome.out.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


def facts(outcome, split):
    """What is said of a split."""
    (line,) = [line for line in outcome.out.splitlines() if line.startswith(f"{split}: ")]
    return line.removeprefix(f"{split}: ").split("; ")


def wrong(outcome):
    """What is wrong; the status says whether anything is."""
    assert outcome.err == ""
    lines = [line for line in outcome.out.splitlines() if line.startswith("wrong: ")]
    assert outcome.status == bool(lines)
    assert ("Nothing is wrong." in outcome.out) == (not lines)
    return [line.removeprefix("wrong: ") for line in lines]


def test_nothing_is_wrong_with_good_data(check, root, tmp_path):
    outcome = check(root)
    assert wrong(outcome) == []
    assert "Labels over images: runs/check/folder.png" in outcome.out
    assert (tmp_path / "runs" / "check" / "folder.png").is_file()


def test_the_table_shows_how_often_each_class_occurs(check, root):
    own_data.write_labels(root, "b", np.zeros_like(IDS))
    # Rows of road: 10 and all 24; of tree: 12 and none.
    assert rows(check(root)) == [
        ["0", "road", f"{100 * 34 / 46:.2f}", "2", f"{100 * 10 / 22:.2f}", "2"],
        ["1", "tree", f"{100 * 12 / 46:.2f}", "1", f"{100 * 12 / 22:.2f}", "2"],
    ]


def test_a_line_for_each_split_says_what_else_it_holds(check, root):
    Image.new("RGB", (WIDTH, 2 * HEIGHT), "red").save(own_data.image(root, "b"))
    own_data.write_labels(root, "b", np.zeros([2 * HEIGHT, WIDTH], np.uint8))
    outcome = check(root)
    ignored = 2 / (HEIGHT + 2 * HEIGHT)
    assert facts(outcome, "train") == [
        "2 samples",
        "ids, as trained on, 0, 1, 255",
        f"{100 * ignored:.2f} % of the pixels ignored",
        "sizes (width×height) 32×24: 1, 32×48: 1",
    ]
    assert facts(outcome, "val") == [
        "2 samples",
        "ids, as trained on, 0, 1, 255",
        "8.33 % of the pixels ignored",
        "sizes (width×height) 32×24: 2",
    ]


def test_what_looks_like_markup_is_shown_as_it_is(check, root, tmp_path):
    (root / "classes.yaml").write_text('classes: ["road [wet]", "tree [/b]"]')
    outcome = check(root, "--output=[red].png")
    assert [row[1] for row in rows(outcome)] == ["road [wet]", "tree [/b]"]
    assert "Labels over images: [red].png" in outcome.out
    assert (tmp_path / "[red].png").is_file()


def test_the_picture_shows_labels_over_images_and_a_legend(check, root, tmp_path):
    outcome = check(root, f"--output={tmp_path}/sheet.png")
    assert f"Labels over images: {tmp_path}/sheet.png" in outcome.out
    picture = Image.open(tmp_path / "sheet.png")
    assert (picture.format, picture.mode) == ("PNG", "RGB")
    pixels = np.asarray(picture)
    road, tree = COLOURS.values()
    for i, name in enumerate("abcd"):
        image = np.asarray(Image.open(own_data.image(root, name)))
        top, left = 20 + i * (HEIGHT + MARGIN), MARGIN
        cells = [pixels[top : top + HEIGHT, x : x + WIDTH] for x in (left, left + WIDTH + MARGIN)]
        np.testing.assert_array_equal(cells[0], image)
        np.testing.assert_array_equal(cells[1][:2], image[:2])  # ignored
        np.testing.assert_array_equal(cells[1][2:12], (image[2:12].astype(int) + road) // 2)
        np.testing.assert_array_equal(cells[1][12:], (image[12:].astype(int) + tree) // 2)
    legend = pixels[20 + 4 * (HEIGHT + MARGIN) :].reshape(-1, 3)
    for colour in (road, tree):
        assert (legend == colour).all(axis=1).any()


def put_wrong_ids(root):
    ids = IDS.copy()
    ids[0, :2] = 7, 9
    own_data.write_labels(root, "b", ids)
    return own_data.labels(root, "b"), "among 0-1, 255, found 7, 9", own_data.image(root, "b")


def truncate_labels(root):
    own_data.truncate(own_data.labels(root, "d"))
    return own_data.labels(root, "d"), "cannot be decoded"


def truncate_image(root):
    own_data.truncate(own_data.image(root, "d"))
    return own_data.image(root, "d"), "cannot be decoded"


def resize_labels(root):
    own_data.write_labels(root, "b", IDS[:, 2:])
    return own_data.labels(root, "b"), "24, 32", "24, 30"


def remove_class(root):
    for name in "ab":
        own_data.write_labels(root, name, np.zeros_like(IDS))
    return ("no pixel of train has the class 1, tree",)


def list_in_both_splits(root):
    own_data.write_list(root, "val", "cdb")
    return ("images that are in train and in val (1)", own_data.image(root, "b"))


def copy_to_the_other_split(root):
    paths = own_data.image(root, "b"), own_data.image(root, "c")
    shutil.copyfile(*paths)
    return ("images that are in train and in val (1)", f"{paths[0]} = {paths[1]}")


def copy_in_a_split(root):
    paths = own_data.image(root, "c"), own_data.image(root, "d")
    shutil.copyfile(*paths)
    return ("images that are twice in val (1)", f"{paths[0]} = {paths[1]}")


def ignore_everything(root):
    own_data.write_labels(root, "d", np.full_like(IDS, 255))
    return ("label maps of val without any label (1)", own_data.labels(root, "d"))


@pytest.mark.parametrize(
    "damage",
    [
        put_wrong_ids,
        truncate_labels,
        truncate_image,
        resize_labels,
        remove_class,
        list_in_both_splits,
        copy_to_the_other_split,
        copy_in_a_split,
        ignore_everything,
    ],
)
def test_what_is_wrong_is_named(check, root, damage):
    parts = damage(root)
    (line,) = wrong(check(root))
    for part in parts:
        assert str(part) in line


def test_a_class_may_be_missing_from_the_validation_split(check, root):
    for name in "cd":
        own_data.write_labels(root, name, np.zeros_like(IDS))
    assert wrong(check(root)) == []


def test_the_report_goes_on_after_wrong_samples(check, root, tmp_path):
    put_wrong_ids(root)
    truncate_labels(root)
    copy_to_the_other_split(root)
    own_data.write_labels(root, "c", np.full_like(IDS, 255))
    outcome = check(root)
    assert facts(outcome, "train")[0] == "2 samples, 1 of them wrong"
    assert [row[2:4] for row in rows(outcome)] == [["45.45", "1"], ["54.55", "1"]]  # a's alone
    lines = wrong(outcome)
    assert [line.split()[0] for line in lines[:2]] == [
        f"{own_data.labels(root, 'b')}:",
        f"{own_data.labels(root, 'd')}:",
    ]
    assert "without any label" in lines[2]
    assert len(lines) == 3  # b is wrong: what it equals is not looked at
    assert Image.open(tmp_path / "runs" / "check" / "folder.png").height > 2 * HEIGHT


def test_without_any_good_sample_there_is_no_picture(check, root, tmp_path):
    for name in "abcd":
        own_data.truncate(own_data.labels(root, name))
    outcome = check(root)
    assert facts(outcome, "train") == ["2 samples, 2 of them wrong"]
    assert "Labels over images" not in outcome.out
    assert not (tmp_path / "runs" / "check" / "folder.png").exists()
    for name, line in zip("abcd", [w for w in wrong(outcome) if "decoded" in w], strict=True):
        assert str(own_data.labels(root, name)) in line


def test_an_unexpected_number_of_samples_is_wrong(train, scenes_root):
    outcome = train("check", f"--data.root={scenes_root}")
    assert facts(outcome, "train")[0] == "6 of 320 samples"
    assert facts(outcome, "val")[0] == "3 of 80 samples"
    assert wrong(outcome) == [
        "train has 6 samples, expected 320",
        "val has 3 samples, expected 80",
    ]
    assert [row[1] for row in rows(outcome)] == [*SCENES.class_names]


@pytest.mark.parametrize(("kind", "car", "void"), [("labelIds", 26, 0), ("labelTrainIds", 13, 255)])
def test_the_kind_of_cityscapes_label_maps_is_told(train, tmp_path, kind, car, void):
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for name, pixels in (
            (f"leftImg8bit/{split}/bonn/1_leftImg8bit.png", random.integers(0, 256, [4, 6, 3])),
            (f"gtFine/{split}/bonn/1_gtFine_{kind}.png", np.full([4, 6], car)),
        ):
            (tmp_path / name).parent.mkdir(parents=True)
            if pixels.ndim == 2:
                pixels[0] = void
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name)
    outcome = train("check", "--data.name=cityscapes", f"--data.root={tmp_path}")
    assert facts(outcome, "val") == [
        "1 of 500 samples",
        kind,
        "ids, as trained on, 13, 255",
        "25.00 % of the pixels ignored",
        "sizes (width×height) 6×4: 1",
    ]


def test_records_are_checked_like_files(train, check, root, tmp_path):
    records = tmp_path / "records"
    prepared = train("prepare", "--data.name=folder", f"--data.root={root}", f"--output={records}")
    assert prepared.status == 0
    assert check(records).out == check(root).out
    (path,) = records.glob("val-*.tfrecord")
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 4] ^= 1  # in the first half: of c
    path.write_bytes(contents)
    (line,) = wrong(check(records))
    assert line.startswith(f"{path}: c: the record is damaged")


@pytest.mark.parametrize(
    ("output", "parts"),
    [
        ("sheet.jpg", ["ends in .png"]),
        ("own", ["expected a file, it is a folder"]),
        ("nowhere/sheet.png", ["no folder nowhere"]),
    ],
)
def test_a_picture_that_cannot_be_written_is_named_at_once(check, root, output, parts):
    outcome = check(root, f"--output={output}")
    assert_one_line(outcome, f"output: {output}", *parts)
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--data.val_split=exam"], ["folder has the splits train, val", "exam"]),
        (["--data.root=nowhere"], ["nowhere"]),
        (["--data.on_error=skip"], ["data.on_error"]),  # it looks at everything anyway
    ],
)
def test_a_wrong_argument_is_named(check, root, arguments, parts):
    assert_one_line(check(root, *arguments), *parts)
