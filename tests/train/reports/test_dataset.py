"""`python -m train check` from the outside: the report."""

import numpy as np
import pytest
from PIL import Image

from tests.commands import assert_one_line
from tests.train import own_data
from tests.train.check_report import facts, rows, wrong
from tests.train.own_data import COLORS, HEIGHT, WIDTH
from train.data.datasets.registry import SCENES
from train.reports.pictures import MARGIN


def test_the_table_and_a_line_for_each_split(check, root):
    Image.new("RGB", (WIDTH, 2 * HEIGHT), "red").save(own_data.image(root, "b"))
    own_data.write_labels(root, "b", np.zeros([2 * HEIGHT, WIDTH], np.uint8))
    outcome = check(root)
    # Rows of road: 10 and all 48; of tree: 12 and none.
    assert rows(outcome) == [
        ["0", "road", f"{100 * 58 / 70:.2f}", "2", f"{100 * 10 / 22:.2f}", "2"],
        ["1", "tree", f"{100 * 12 / 70:.2f}", "1", f"{100 * 12 / 22:.2f}", "2"],
    ]
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


def test_of_good_data_a_picture_shows_labels_over_images_and_a_legend(check, root):
    outcome = check(root)
    assert wrong(outcome) == []
    assert "Labels over images: runs/check/folder.png" in outcome.out
    picture = Image.open("runs/check/folder.png")
    assert (picture.format, picture.mode) == ("PNG", "RGB")
    pixels = np.asarray(picture)
    road, tree = COLORS.values()
    for i, name in enumerate("abcd"):
        image = np.asarray(Image.open(own_data.image(root, name)))
        top, left = 20 + i * (HEIGHT + MARGIN), MARGIN
        cells = [pixels[top : top + HEIGHT, x : x + WIDTH] for x in (left, left + WIDTH + MARGIN)]
        np.testing.assert_array_equal(cells[0], image)
        np.testing.assert_array_equal(cells[1][:2], image[:2])  # ignored
        np.testing.assert_array_equal(cells[1][2:12], (image[2:12].astype(int) + road) // 2)
        np.testing.assert_array_equal(cells[1][12:], (image[12:].astype(int) + tree) // 2)
    legend = pixels[20 + 4 * (HEIGHT + MARGIN) :].reshape(-1, 3)
    for color in (road, tree):
        assert (legend == color).all(axis=1).any()


def test_an_unexpected_number_of_samples_is_wrong(train, scenes_root):
    outcome = train("check", f"--data.root={scenes_root}")
    assert facts(outcome, "train")[0] == "6 of 320 samples"
    assert facts(outcome, "val")[0] == "3 of 80 samples"
    assert wrong(outcome) == [
        "train has 6 samples, expected 320",
        "val has 3 samples, expected 80",
    ]
    assert [row[1] for row in rows(outcome)] == [*SCENES.class_names]


def test_the_kind_of_cityscapes_label_maps_is_told(train, tmp_path):
    kind, car, void = "labelIds", 26, 0
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
