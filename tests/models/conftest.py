import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def default_policy():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def images():
    def make(*shape: int) -> np.ndarray:
        return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")

    return make
