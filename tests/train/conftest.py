"""A small dataset of scenes on disk, for every test of the session."""

import pytest

from train import scenes
from train.datasets import SCENES


@pytest.fixture(scope="session")
def scenes_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "scenes"
    scenes.write(root, train=6, val=3, height=48, width=64)
    return root


@pytest.fixture(scope="session")
def train_samples(scenes_root):
    return SCENES.samples(scenes_root, "train")
