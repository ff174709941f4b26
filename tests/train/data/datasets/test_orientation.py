"""`python -m train check` names images that other programs show turned: their labels may be so."""

import io

import pytest
from PIL import Image, PngImagePlugin

from tests.commands import TINY_RUN
from tests.train import own_data
from tests.train.check_report import facts, rows, wrong
from tests.train.own_data import image
from tests.train.small_network import small_networks

TURNED = 6  # by 90 degrees
WHAT = "images whose EXIF orientation, which is not applied, turns them (1): "


@pytest.fixture
def root(tmp_path):
    """Own data of JPEGs."""
    root = own_data.write(tmp_path / "own", scale=4)
    for path in (root / "images").iterdir():
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    return root


def turn(path):
    exif = Image.Exif()
    exif[0x0112] = TURNED
    Image.open(path).save(path, exif=exif)


def test_a_turned_image_is_named_in_files_and_in_records(train, check, root, tmp_path):
    """Of these everything is said that is said of the files."""
    path = image(root, "d").with_suffix(".jpg")
    turn(path)
    one_split = "--data.train_split=val"
    of_files = check(root, one_split)
    assert wrong(of_files) == [f"{WHAT}{path}"]
    records = tmp_path / "records"
    train("prepare", "--data.name=folder", f"--data.root={root}", f"--output={records}", one_split)
    of_records = check(records, one_split)
    assert wrong(of_records) == [f"{WHAT}{records}/val-00000-of-00001.tfrecord: d"]
    assert rows(of_records) == rows(of_files)
    assert facts(of_records, "val") == facts(of_files, "val")


def damage_exif(path):
    """Its table of tags is beyond its end."""
    buffer = io.BytesIO()
    exif = b"Exif\0\0MM\0*\0\xff\0\0"
    Image.open(path).save(buffer, "JPEG", exif=exif)
    path.write_bytes(buffer.getvalue())


def write_no_hexadecimals(path):
    """In the text that ImageMagick writes EXIF into."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n 4\nzzzz\n")
    Image.open(path).save(path.with_suffix(".png"), pnginfo=text)
    path.unlink()


def enlarge(path):
    """Pillow refuses twice as many pixels as it may open; those of the others it opens."""
    large = Image.open(path).resize((400, 300))
    large.save(path)
    Image.new("L", large.size).save(own_data.labels(path.parents[1], path.stem))


def test_what_pillow_cannot_read_is_no_fault_of_an_image(check, root, monkeypatch):
    for name, damage in {"b": damage_exif, "c": write_no_hexadecimals, "d": enlarge}.items():
        damage(image(root, name).with_suffix(".jpg"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400 * 300 // 2 - 1)
    outcome = check(root, "--output=sheet.png")
    assert (outcome.status, outcome.err) == (0, "")


@pytest.mark.full
def test_training_says_that_an_image_is_turned(train, root, tmp_path):
    turn(image(root, "b").with_suffix(".jpg"))
    data = ["--data.name=folder", f"--data.root={root}"]
    with small_networks():
        outcome = train("fit", f"--run={tmp_path}/run", *data, *TINY_RUN)
    assert outcome.status == 0
    assert "The EXIF orientation of 1 images is not applied, such as that of" in outcome.out


def test_a_label_map_drawn_upright_has_another_size(check, root):
    path = image(root, "b").with_suffix(".jpg")
    turn(path)
    upright = Image.open(own_data.labels(root, "b")).transpose(Image.Transpose.ROTATE_270)
    upright.save(own_data.labels(root, "b"))
    (line, *_) = wrong(check(root))
    assert "the image is 96, 128 (height, width), its label map 128, 96" in line
    assert f"(image {path}, whose EXIF orientation is not applied)" in line
