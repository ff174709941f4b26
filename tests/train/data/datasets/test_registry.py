"""Datasets by name, and what holds for all of them."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from PIL import Image

import models
from train.common.errors import UserError
from train.config import DataConfig, ModelConfig
from train.data.datasets.registry import CAMVID, DATASETS, NAMES, SCENES, find_dataset


def test_every_name_is_a_choice_of_the_configuration():
    assert get_args(get_type_hints(DataConfig)["name"]) == NAMES
    strides, _ = get_args(get_type_hints(ModelConfig)["output_stride"])
    assert get_args(strides) == models.OUTPUT_STRIDES


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_descriptions_are_whole(dataset):
    assert len(dataset.colors) == dataset.num_classes == len(set(dataset.colors))
    assert len(set(dataset.class_names)) == dataset.num_classes
    assert not {*dataset.colors, *dataset.other_colors} & set(dataset.ignored_colors)
    assert {"train", "val"} <= set(dataset.splits)
    assert dataset.source
    assert dataset.license


@pytest.mark.parametrize("name", DATASETS)
def test_datasets_are_found_by_name(name):
    assert find_dataset(name) is DATASETS[name]


def test_own_data_are_described_by_their_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, name in (("data/folder", "cat"), ("elsewhere", "dog")):
        Path(folder).mkdir(parents=True)
        (Path(folder) / "classes.yaml").write_text(f"classes: [{name}]\n")
    assert find_dataset("folder").class_names == ("background", "cat")
    assert find_dataset("folder", Path("elsewhere")).class_names == ("background", "dog")


def test_unknown_name():
    with pytest.raises(UserError, match="no dataset 'coco': expected scenes, .*, folder"):
        find_dataset("coco")


def test_a_dataset_that_can_be_made_is_made_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []

    def make(folder):
        made.append(folder)
        SCENES.make(folder, train=1, val=1, height=24, width=32)

    dataset = replace(SCENES, make=make)
    for split in ("train", "val", "train"):
        assert len(dataset.samples(split)) == 1
    assert made == [Path("data/scenes")]


def test_a_folder_that_was_asked_for_is_not_made(tmp_path):
    with pytest.raises(UserError, match="no folder .*misspelt; scenes"):
        SCENES.samples("train", tmp_path / "misspelt")
    assert not (tmp_path / "misspelt").exists()


def test_another_process_may_be_faster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(folder):
        SCENES.make(folder, train=1, val=1, height=24, width=32)
        SCENES.make(folder, train=1, val=1, height=24, width=32)

    assert len(replace(SCENES, make=make).samples("val")) == 1


def test_missing_folder(tmp_path):
    with pytest.raises(UserError, match=f"data.root: no folder {tmp_path}/none; camvid: .*SegNet"):
        CAMVID.samples("train", tmp_path / "none")


def test_empty_and_unknown_splits(tmp_path):
    (tmp_path / "val.txt").write_text("\n")
    with pytest.raises(UserError, match="split 'val' of camvid is empty"):
        CAMVID.samples("val", tmp_path)
    with pytest.raises(UserError, match="splits train, val, test, not 'dev'"):
        CAMVID.samples("dev", tmp_path)


def test_samples_are_the_files_themselves(scenes_root):
    samples = SCENES.samples("val", scenes_root)
    image, labels = samples.read(1)
    assert image.numpy() == samples.images[1].read_bytes()
    assert labels.numpy() == samples.labels[1].read_bytes()
    with Image.open(samples.images[1]) as picture, Image.open(samples.labels[1]) as ids:
        assert picture.size == ids.size


def test_lists_may_have_a_byte_order_mark_but_must_be_utf_8(scenes_root, tmp_path):
    root = shutil.copytree(scenes_root, tmp_path / "scenes")
    path = root / "ImageSets" / "Segmentation" / "train.txt"
    text = path.read_text()
    path.write_text(text, encoding="utf-8-sig")
    assert len(SCENES.samples("train", root)) == 6
    path.write_text(text, encoding="utf-16")
    with pytest.raises(UserError, match="train.txt: expected a list in UTF-8"):
        SCENES.samples("train", root)


def test_several_splits_are_one(scenes_root):
    train, val, both = (
        SCENES.samples(split, scenes_root) for split in ("train", "val", "train+val")
    )
    assert both.images == train.images + val.images
    assert both.labels == train.labels + val.labels
    assert SCENES.expected("train+val") == SCENES.splits["train"] + SCENES.splits["val"]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("train+all", "has the splits train, val, not 'all'"),
        ("train+", "has the splits train, val, not ''"),
        ("val+train+val", "'val\\+train\\+val' names the split 'val' twice"),
    ],
)
def test_what_is_wrong_with_several_is_named(scenes_root, split, message):
    with pytest.raises(UserError, match=message):
        SCENES.samples(split, scenes_root)


def test_what_is_unlabelled_by_255_alone_cannot_be_a_class():
    with pytest.raises(UserError, match="unlabelled_as_class: voc2012 has no id of its own"):
        find_dataset("voc2012", unlabelled_as_class=True)


def test_255_is_never_a_class():
    """Also of data that list it among the ids without a label."""
    listed = replace(CAMVID, ignored_ids=(*CAMVID.ignored_ids, 255))
    assert listed.with_unlabelled_class().encoding == CAMVID.with_unlabelled_class().encoding
    with pytest.raises(UserError, match="has no id of its own"):
        replace(CAMVID, ignored_ids=(255,)).with_unlabelled_class()


def test_the_color_of_unlabelled_pixels_is_that_of_no_class():
    black = replace(CAMVID, ignored_colors=(), colors=((0, 0, 0), *CAMVID.colors[1:]))
    more = black.with_unlabelled_class()
    assert len(set(more.colors)) == len(more.colors) == 12
