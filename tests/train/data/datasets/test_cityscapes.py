"""Cityscapes: its own table, both kinds of label maps, and files without partner."""

import numpy as np
import pytest
import tensorflow as tf
from cityscapesscripts.helpers import labels as official
from PIL import Image

from train.common.errors import UserError
from train.data.datasets.cityscapes import CITYSCAPES, GRAY_OF_IDS
from train.data.decoding.errors import DataError
from train.data.decoding.labels import decode_labels
from train.data.decoding.palette import IGNORED

NAMES = ("aachen/aachen_000000_000019", "bonn/bonn_000001_000019")
DRAWN = [label for label in official.labels if label.id >= 0]  # a number plate has the id -1


@pytest.fixture
def root(tmp_path):
    """Images only."""
    for name in NAMES:
        save(tmp_path / "leftImg8bit" / "train" / f"{name}_leftImg8bit.png", [[0, 0]])
        (tmp_path / "gtFine" / "train" / name).parent.mkdir(parents=True)
    return tmp_path


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path)


def save_labels(root, kind, values, names=NAMES):
    for name in names:
        save(root / "gtFine" / "train" / f"{name}_gtFine_{kind}.png", [values])


def decoded(samples, index=0):
    _, labels = samples.read(index)
    return decode_labels(labels, samples.encoding)[0].numpy().tolist()


def test_classes_are_the_official_ones():
    trained = [label for label in DRAWN if label.trainId != IGNORED]
    assert [label.trainId for label in trained] == [*range(CITYSCAPES.num_classes)]
    assert tuple(label.name for label in trained) == CITYSCAPES.class_names
    assert tuple(label.color for label in trained) == CITYSCAPES.colors
    assert tuple(label.id for label in trained) == CITYSCAPES.server_ids


def test_every_official_id_has_its_official_class():
    assert {label.id: label.trainId for label in DRAWN} == GRAY_OF_IDS


def test_every_official_color_has_its_official_class(tmp_path):
    """But for the two that look like a class: pole groups like poles, number plates like cars."""
    shown_as = {"polegroup": "pole", "license plate": "car"}
    names = CITYSCAPES.class_names
    for label in official.labels:
        save(tmp_path / "labels.png", [[label.color]])
        contents = tf.io.read_file(str(tmp_path / "labels.png"))
        other = shown_as.get(label.name)
        expected = label.trainId if other is None else names.index(other)
        assert decode_labels(contents, CITYSCAPES.encoding).numpy().tolist() == [[expected]], (
            label.name
        )


def test_label_ids_become_classes(root):
    save_labels(root, "labelIds", [label.id for label in DRAWN])
    samples = CITYSCAPES.samples("train", root)
    assert samples.variant == "labelIds"
    assert [path.name for path in samples.images] == [
        "aachen_000000_000019_leftImg8bit.png",
        "bonn_000001_000019_leftImg8bit.png",
    ]
    for index in range(2):
        assert decoded(samples, index) == [label.trainId for label in DRAWN]


def test_training_ids_are_classes(root):
    save_labels(root, "labelTrainIds", [*range(19), 255])
    samples = CITYSCAPES.samples("train", root)
    assert samples.variant == "labelTrainIds"
    assert decoded(samples) == [*range(19), IGNORED]


def test_the_official_files_win(root):
    save_labels(root, "labelIds", [7])
    save_labels(root, "labelTrainIds", [5])
    samples = CITYSCAPES.samples("train", root)
    assert samples.variant == "labelIds"
    assert decoded(samples) == [0]


@pytest.mark.parametrize(
    ("kind", "other", "expected"),
    [("labelIds", 255, "0-33, found 255"), ("labelTrainIds", 33, "0-18, 255, found 33")],
)
def test_one_kind_under_the_name_of_the_other(root, kind, other, expected):
    save_labels(root, kind, [other])
    with pytest.raises(DataError, match=expected):
        decoded(CITYSCAPES.samples("train", root))


def test_an_image_without_label_map(root):
    save_labels(root, "labelIds", [7], NAMES[:1])
    with pytest.raises(UserError, match="bonn_000001_.*Img8bit.png has no label map .*bonn"):
        CITYSCAPES.samples("train", root)


def test_images_without_any_label_map(root):
    with pytest.raises(UserError, match="no label map aachen.*_gtFine_labelIds.png"):
        CITYSCAPES.samples("train", root)


def test_a_label_map_without_image(root):
    save_labels(root, "labelIds", [7], (*NAMES, "ulm/ulm_000002_000019"))
    with pytest.raises(UserError, match="ulm_.*_gtFine_labelIds.png has no image ulm/ulm_"):
        CITYSCAPES.samples("train", root)


def test_a_missing_folder(root):
    with pytest.raises(UserError, match="no folder .*leftImg8bit/val"):
        CITYSCAPES.samples("val", root)
