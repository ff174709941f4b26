"""In networks the layer is tested by `test_dilate`."""

import keras
import numpy as np
import pytest

from models.layers.dilated_pooling import DilatedPooling2D
from tests.models.layers.serialization import check_config_round_trip


def test_config_round_trip():
    check_config_round_trip(DilatedPooling2D("average", 3, rate=2, padding=(2, 1)))


@pytest.mark.parametrize(
    ("kind", "usual"),
    [("max", keras.layers.MaxPooling2D), ("average", keras.layers.AveragePooling2D)],
)
def test_without_gaps_it_is_the_usual_pooling(kind, usual, images):
    x = -images(2, 7, 6, 3)  # padding with zeros would be seen
    pooled = DilatedPooling2D(kind, 3, rate=1, padding=(1, 1))(x)
    expected = usual(3, strides=1, padding="same")(x)
    np.testing.assert_allclose(pooled, expected, rtol=1e-5)
