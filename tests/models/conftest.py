import keras
import numpy as np
import pytest

from tests.models import networks
from tests.models.weights import slim_networks
from tests.models.weights.slim_reference import write_checkpoint, write_quickly


@pytest.fixture(autouse=True)
def default_policy():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def images():
    def make(*shape: int) -> np.ndarray:
        return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")

    return make


@pytest.fixture(scope="module")
def thin():
    """Keep DeepLab's own backbones thin while a module runs."""
    with networks.thin_deeplab_backbones():
        yield


@pytest.fixture(scope="module")
def thin_resnet_101():
    """Keep the flavors of ResNet-101 thin while a module runs."""
    with networks.thin_resnets_101():
        yield


@pytest.fixture(scope="module")
def model(thin):
    """Build the published network, thin; tests may set its weights."""
    return slim_networks.build()


@pytest.fixture(scope="module")
def prefix(thin, tmp_path_factory):
    """Write the checkpoint of a whole training for `model`."""
    path = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    return write_checkpoint(path, slim_networks.thin_values() | slim_networks.TRAINING)


@pytest.fixture
def saved(tmp_path):
    """Save arrays by their names, and say where."""
    return lambda arrays: write_quickly(tmp_path / "model.ckpt", arrays)
