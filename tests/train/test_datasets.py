"""Lists of files, and what is said where they are wrong."""

from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from PIL import Image

import models
from train.config import DataConfig, ModelConfig
from train.datasets import CAMVID, DATASETS, SCENES
from train.errors import UserError


@pytest.fixture
def camvid_root(tmp_path):
    """SegNet's layout, the lists written for another machine."""
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
        Image.new("RGB" if folder == "train" else "L", (4, 3)).save(tmp_path / folder / "a.png")
    (tmp_path / "train.txt").write_text(
        "/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png\n\n"
    )
    return tmp_path


def test_camvid_lists_of_another_machine(camvid_root):
    (sample,) = CAMVID.samples("train", camvid_root)
    assert sample.image == camvid_root / "train" / "a.png"
    assert sample.labels == camvid_root / "trainannot" / "a.png"


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


def test_every_name_is_a_choice_of_the_configuration():
    assert set(get_args(get_type_hints(DataConfig)["name"])) == set(DATASETS)
    strides, _ = get_args(get_type_hints(ModelConfig)["output_stride"])
    assert get_args(strides) == models.OUTPUT_STRIDES


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_descriptions_are_whole(dataset):
    assert len(dataset.colours) == dataset.classes == len(set(dataset.colours))
    assert not set(dataset.colours) & set(dataset.ignored_colours)
    assert {"train", "val"} <= set(dataset.splits)


def test_missing_folder(tmp_path):
    with pytest.raises(UserError, match=f"data.root: no folder {tmp_path}/none; camvid: .*SegNet"):
        CAMVID.samples("train", tmp_path / "none")


def test_missing_list(camvid_root):
    with pytest.raises(UserError, match="no list .*val.txt"):
        CAMVID.samples("val", camvid_root)


def test_list_entry_without_file(camvid_root):
    with (camvid_root / "train.txt").open("a") as file:
        file.write("train/b.png trainannot/b.png\n")
    with pytest.raises(UserError, match="train.txt line 3: no file .*train/b.png"):
        CAMVID.samples("train", camvid_root)


def test_list_entry_that_is_no_pair(camvid_root):
    (camvid_root / "train.txt").write_text("train/a.png\n")
    with pytest.raises(UserError, match="line 1: expected an image and a label map"):
        CAMVID.samples("train", camvid_root)


def test_empty_and_unknown_splits(camvid_root):
    (camvid_root / "val.txt").write_text("\n")
    with pytest.raises(UserError, match="split 'val' of camvid is empty"):
        CAMVID.samples("val", camvid_root)
    with pytest.raises(UserError, match="splits train, val, test, not 'dev'"):
        CAMVID.samples("dev", camvid_root)
