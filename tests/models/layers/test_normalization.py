import keras
import numpy as np

from models.layers.normalization import PixelNormalization
from tests.models.layers.serialization import check_config_round_trip


def test_config_round_trip():
    check_config_round_trip(PixelNormalization(0.5, (1.0, 2.0, 3.0), bgr=True))


def test_pixels_stay_exact_in_mixed_precision(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = PixelNormalization(1 / 127.5, (-1.0, -1.0, -1.0))
    pixels = images(1, 4, 4, 3)
    np.testing.assert_allclose(layer(pixels), pixels / 127.5 - 1, rtol=1e-5, atol=1e-6)
