"""Records of the scenes, written once."""

import shutil
from pathlib import Path

import pytest

from tests.train.data.samples.scene_records import write
from train.data.datasets.registry import SCENES
from train.data.samples.statistics import collect_statistics


@pytest.fixture(scope="session")
def statistics(train_samples):
    """Count what the six scenes hold."""
    return collect_statistics(train_samples, SCENES.num_classes)


@pytest.fixture(scope="session")
def whole(train_samples, statistics, tmp_path_factory):
    """Write the six scenes as records, in several shards."""
    folder = tmp_path_factory.mktemp("records")
    assert 1 < write(train_samples, statistics, folder) < 6
    return folder


@pytest.fixture
def written(whole, tmp_path):
    """Copy them, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "records"))
