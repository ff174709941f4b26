"""Fixtures of the training kit's tests."""

from pathlib import Path

import pytest

from tests.commands import command
from tests.train import own_data
from train.data.datasets.registry import SCENES


@pytest.fixture(scope="session")
def train_samples(scenes_root):
    return SCENES.samples("train", scenes_root)


@pytest.fixture(scope="session")
def camvid_root():
    """CamVid's real images."""
    root = Path(__file__).parents[2] / "../shared/data/CamVid"
    if not root.is_dir():
        pytest.skip("CamVid's images are not beside the repository")
    return root


@pytest.fixture
def train(monkeypatch, capfd, tmp_path):
    """Run a command in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return lambda *arguments: command(monkeypatch, capfd, "train", *arguments)


@pytest.fixture
def check(train):
    """Run `check` on own data."""
    return lambda root, *options: train(
        "check", "--data.name=folder", f"--data.root={root}", *options
    )


@pytest.fixture
def root(tmp_path):
    """Own data in which nothing is wrong yet."""
    return own_data.write(tmp_path / "own")
