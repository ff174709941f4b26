import pytest

from tests.models.backbones.lite_reference import random_state_dict
from tests.models.backbones.torch_files import pth


@pytest.fixture(scope="session")
def state_dict():
    return random_state_dict()


@pytest.fixture(scope="session")
def pth_path(state_dict, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    path.write_bytes(pth(state_dict))
    return path
