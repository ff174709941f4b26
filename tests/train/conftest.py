"""Fixtures of the training kit's tests."""

import pytest

from train.data.datasets import SCENES


@pytest.fixture(scope="session")
def train_samples(scenes_root):
    return SCENES.samples("train", scenes_root)
