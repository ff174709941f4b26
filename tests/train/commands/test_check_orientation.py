"""`python -m train check` names images that other programs show turned: their labels may be so."""

import io

import pytest
from PIL import Image, PngImagePlugin

from tests.train import own_data

TURNED = 6  # by 90 degrees


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
    path = root / "images" / "d.jpg"
    turn(path)
    outcome = check(root)
    assert outcome.status == 1
    assert (
        f"wrong: images whose EXIF orientation, which is not applied, turns them (1): {path}"
        in (outcome.out.splitlines())
    )
    records = tmp_path / "records"
    train("prepare", "--data.name=folder", f"--data.root={root}", f"--output={records}")
    outcome = check(records)
    assert outcome.status == 1
    assert "turns them (1): " in outcome.out
    assert "val-00000-of-00001.tfrecord: d" in outcome.out


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


@pytest.mark.parametrize("damage", [damage_exif, write_no_hexadecimals])
def test_damaged_exif_of_an_image_that_can_be_read_is_no_fault(check, root, damage):
    damage(root / "images" / "d.jpg")
    outcome = check(root)
    assert (outcome.status, outcome.err) == (0, "")


def test_an_image_that_is_large_to_pillow_is_no_fault(check, root, monkeypatch):
    image = Image.open(root / "images" / "d.jpg")
    # Pillow refuses twice as many; the letters on the picture are smaller.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", image.width * image.height // 2 - 1)
    outcome = check(root)
    assert (outcome.status, outcome.err) == (0, "")
