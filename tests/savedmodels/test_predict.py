"""`python -m savedmodels predict` from the outside."""

import os
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from savedmodels import predict as predict_command
from tests.commands import assert_one_line
from train.data.datasets.registry import DATASETS, SCENES
from train.reports.pictures import overlay


@pytest.fixture
def predict(savedmodels, exported, tmp_path):
    """Segments images."""
    return lambda *images, output=tmp_path / "out": savedmodels(
        "predict", exported, *images, f"--output={output}"
    )


def test_predictions_are_palette_pictures_and_overlays(predict, exported, scenes_root, tmp_path):
    image = scenes_root / "JPEGImages" / "scene_000007.jpg"
    Image.new("RGB", (31, 17), "red").save(tmp_path / "other.png")
    outcome = predict(image, tmp_path / "other.png")
    assert outcome.status == 0, outcome.err
    pixels = tf.io.decode_image(tf.io.read_file(str(image)))
    model = tf.saved_model.load(str(exported))
    classes = model.serve(pixels[tf.newaxis])["classes"][0].numpy()
    palette = Image.open(tmp_path / "out" / "scene_000007.png")
    assert palette.mode == "P"
    assert tuple(palette.getpalette()[:33]) == sum(SCENES.colors, ())
    np.testing.assert_array_equal(np.asarray(palette), classes)
    shown = np.asarray(Image.open(tmp_path / "out" / "scene_000007_overlay.png"))
    # Above its legend, which may be wider.
    np.testing.assert_array_equal(shown[:48, :64], overlay(pixels.numpy(), classes, SCENES.colors))
    assert Image.open(tmp_path / "out" / "other.png").size == (31, 17)


def test_the_ids_of_a_server_are_written_in_gray_pictures_alone(
    predict, exported, tmp_path, monkeypatch
):
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(tmp_path / "a.png")
    pixels = tf.io.decode_image(tf.io.read_file(str(tmp_path / "a.png")))
    model = tf.saved_model.load(str(exported))
    classes = model.serve(pixels[tf.newaxis])["classes"][0].numpy()
    ids = tuple(range(7, 7 + SCENES.num_classes))
    monkeypatch.setitem(DATASETS, "cityscapes", replace(SCENES, server_ids=ids))
    monkeypatch.setitem(predict_command.SERVER_IDS, "cityscapes", ids)
    # Where both are written, the overlay would be one of the images.
    Image.new("RGB", (8, 8)).save(tmp_path / "a_overlay.png")
    images = tmp_path / "a.png", tmp_path / "a_overlay.png"
    outcome = predict(*images, "--server_ids=cityscapes")
    assert outcome.status == 0, outcome.err
    assert "2 PNGs of the server's ids" in outcome.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "a_overlay.png"}
    picture = Image.open(tmp_path / "out" / "a.png")
    assert picture.mode == "L"
    np.testing.assert_array_equal(np.asarray(picture), classes + 7)


def test_a_server_of_other_classes_is_refused(predict, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    outcome = predict(tmp_path / "a.png", "--server_ids=cityscapes")
    assert_one_line(outcome, "the model knows the classes", "cityscapes has road, sidewalk")
    assert not (tmp_path / "out").exists()
    assert_one_line(predict(tmp_path / "a.png", "--server_ids=camvid"), "server_ids", "cityscapes")


def test_a_folder_stands_for_its_images(predict, tmp_path):
    photographs, more = tmp_path / "photographs", tmp_path / "more.png"
    (photographs / "below").mkdir(parents=True)
    for path in (photographs / "a.JPG", photographs / "b.png", photographs / "below/c.png", more):
        Image.new("RGB", (8, 8), "red").save(path)
    (photographs / "notes.txt").touch()
    (photographs / "._a.JPG").touch()
    assert predict(photographs, more).status == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{name}{end}.png" for name in ("a", "b", "more") for end in ("", "_overlay")}
    (tmp_path / "empty").mkdir()
    assert_one_line(predict(tmp_path / "empty"), "empty: no .jpg, .jpeg, .png in this folder")


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("a.b.png", "c.png", "d.png", "d.jpg"):
        Image.new("RGB", (8, 8), "red").save(folder / name)
    return folder


def test_only_the_images_of_a_list_are_segmented(predict, photographs, tmp_path):
    (tmp_path / "test.txt").write_text("c\n\na.b\n")
    outcome = predict(photographs, f"--list={tmp_path}/test.txt")
    assert outcome.status == 0, outcome.err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a.b.png", "a.b_overlay.png", "c.png", "c_overlay.png"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c\ne\n", "test.txt line 2: no image e, with any suffix, among the 4"),
        ("c\nc\n", "test.txt line 2: c is there twice"),
        ("d\n", "test.txt line 1: d is "),
        ("../c\n", "test.txt line 1: expected a name without folder, got '../c'"),
        ("\n", "test.txt: expected the name of an image on each line, it is empty"),
        (None, "no list "),
    ],
)
def test_a_list_that_names_no_image_is_refused(predict, photographs, tmp_path, text, message):
    if text is not None:
        (tmp_path / "test.txt").write_text(text)
    assert_one_line(predict(photographs, f"--list={tmp_path}/test.txt"), message)
    assert not (tmp_path / "out").exists()


def test_it_never_writes_over_an_image(predict, tmp_path):
    names = [tmp_path / name for name in ("x.png", "x_overlay.png")]
    for path in names:
        Image.new("RGB", (8, 8), "red").save(path)
    before = [path.read_bytes() for path in names]
    assert_one_line(predict(names[0], output=tmp_path), names[0])
    assert_one_line(predict(*names), "out/x_overlay.png")
    assert [path.read_bytes() for path in names] == before
    assert not (tmp_path / "out").exists()


def test_a_turned_image_is_named(predict, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 16)).save(tmp_path / "turned.jpg", exif=exif)
    outcome = predict(tmp_path / "turned.jpg")
    assert (
        "turned.jpg: its EXIF orientation, which other programs apply, is not applied"
        in outcome.out
    )


def test_images_that_cannot_be_read_or_named_are_refused(predict, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "same.png")
    good = tmp_path / "a" / "same.png"
    assert_one_line(predict(good, tmp_path / "no.jpg"), "no.jpg")
    assert_one_line(predict(good, tmp_path / "broken.jpg"), "broken.jpg", "must be a JPEG or PNG")
    Image.new("P", (8, 8)).save(tmp_path / "palette.bmp")  # whose colors the decoder mistakes
    assert_one_line(predict(good, tmp_path / "palette.bmp"), "must be a JPEG or PNG")
    deep = np.full([8, 8], 4095, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert_one_line(predict(good, tmp_path / "deep.png"), "deep.png", "has 16", "4095 to 4095")
    os.mkfifo(tmp_path / "pipe.png")
    assert_one_line(predict(good, tmp_path / "pipe.png"), "no image", "pipe.png")
    assert_one_line(predict(good, tmp_path / "b" / "same.png"), "same")
    assert not (tmp_path / "out").exists()
