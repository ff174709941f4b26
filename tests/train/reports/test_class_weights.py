"""`python -m train weights` from the outside."""

import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.commands import assert_one_line
from tfsegloss import class_counts, inverse_frequency, median_frequency
from train.data.datasets.registry import SCENES


@pytest.fixture
def label_maps(scenes_root):
    """Return the ids of every label map of a split, as Pillow reads them."""

    return lambda split: [
        np.array(Image.open(path)) for path in SCENES.samples(split, scenes_root).labels
    ]


def pasted(outcome):
    """Return the weights of the last line."""
    assert outcome.status == 0
    return yaml.safe_load(outcome.out.strip().splitlines()[-1])["class_weights"]


def test_the_table_and_the_weights_are_those_of_the_labels(train, scenes_root, label_maps):
    outcome = train("weights", "--data.name=scenes", f"--data.root={scenes_root}")
    maps = label_maps("train")
    counts = sum(np.array(class_counts(ids, SCENES.num_classes)) for ids in maps)
    np.testing.assert_allclose(pasted(outcome), median_frequency(*counts), rtol=1e-3)
    total = sum((ids != 255).sum() for ids in maps)
    for i, name in enumerate(SCENES.class_names):
        (row,) = [line for line in outcome.out.splitlines() if f" {name} " in line]
        share = 100 * sum((ids == i).sum() for ids in maps) / total
        images = sum((ids == i).any() for ids in maps)
        assert [cell.strip() for cell in row.split("│")][2:4] == [f"{share:.2f}", str(images)]


def test_another_split_and_another_method(train, scenes_root, label_maps):
    options = ["--split=val", "--method=inverse_frequency"]
    outcome = train("weights", f"--data.root={scenes_root}", *options)
    counts = sum(np.array(class_counts(ids, SCENES.num_classes)) for ids in label_maps("val"))
    np.testing.assert_allclose(pasted(outcome), inverse_frequency(*counts), rtol=1e-3)


def test_a_recipe_takes_the_line(train, tmp_path):
    line = "class_weights: [1, 2.5, 0.25, 1, 1, 1, 1, 1, 1, 1, 3e+02]"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "loss:\n  class_path: tfsegloss.SoftmaxCrossEntropy\n  init_args:\n    " + line + "\n"
    )
    outcome = train("fit", f"--config={recipe}", "--print_config")
    weights = yaml.safe_load(outcome.out)["loss"]["init_args"]["class_weights"]
    assert weights == yaml.safe_load(line.replace("3e+02", "300"))["class_weights"]


def test_a_class_that_never_occurs_weighs_nothing(train, scenes_root, tmp_path):
    root = shutil.copytree(scenes_root, tmp_path / "scenes")
    for path in SCENES.samples("train", root).labels:
        Image.fromarray(np.full([48, 64], 2, np.uint8)).save(path)
    weights = pasted(train("weights", f"--data.root={root}"))
    assert weights == [float(i == 2) for i in range(SCENES.num_classes)]


def test_a_split_without_any_class_is_named(train, scenes_root, tmp_path):
    root = shutil.copytree(scenes_root, tmp_path / "scenes")
    for path in SCENES.samples("train", root).labels:
        Image.fromarray(np.full([48, 64], 255, np.uint8)).save(path)
    assert_one_line(train("weights", f"--data.root={root}"), "no pixel", "scenes train")


def test_a_wrong_label_map_is_named(train, scenes_root, tmp_path):
    root = shutil.copytree(scenes_root, tmp_path / "scenes")
    path = SCENES.samples("train", root).labels[3]
    Image.fromarray(np.full([48, 64], 77, np.uint8)).save(path)
    assert_one_line(train("weights", f"--data.root={root}"), path, "found 77")


def test_wrong_label_maps_are_skipped_and_listed(train, scenes_root, tmp_path):
    root = shutil.copytree(scenes_root, tmp_path / "scenes")
    path = SCENES.samples("train", root).labels[3]
    rest = [np.array(Image.open(p)) for p in SCENES.samples("train", root).labels if p != path]
    path.write_bytes(path.read_bytes()[:-40])
    outcome = train("weights", f"--data.root={root}", "--data.on_error=skip")
    assert f"skipped: {path}: cannot be decoded" in outcome.out
    counts = sum(np.array(class_counts(ids, SCENES.num_classes)) for ids in rest)
    np.testing.assert_allclose(pasted(outcome), median_frequency(*counts), rtol=1e-3)
