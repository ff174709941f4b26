import keras
import numpy as np
import pytest
import tensorflow as tf

from models.layers.sizes import CropLike, PadToMultiple, ResizeLike
from tests.models.layers.serialization import check_config_round_trip


@pytest.mark.parametrize(
    "layer",
    [PadToMultiple(16, 1), ResizeLike(corners=True), CropLike()],
    ids=lambda layer: type(layer).__name__,
)
def test_config_round_trip(layer):
    check_config_round_trip(layer)


@pytest.mark.parametrize("sides", [(7, 5), (16, 32), (33, 41)])
def test_padding_and_cropping(sides, images):
    x = images(2, *sides, 3)
    padded = PadToMultiple(16)(x)
    expected = [(0, 0), (0, -sides[0] % 16), (0, -sides[1] % 16), (0, 0)]
    np.testing.assert_array_equal(padded, np.pad(x, expected))
    np.testing.assert_array_equal(CropLike()([padded, x]), x)


def test_resizing_is_linear_between_centers_of_cells():
    # A ramp stays a ramp: center i + 1/2 of 8 cells is center 4i + 2 of 32.
    ramp = np.arange(8, dtype="float32") + 0.5
    features = np.broadcast_to(ramp[None, :, None, None], (1, 8, 3, 2))
    resized = ResizeLike()([features, np.zeros((1, 32, 12, 1), "float32")])
    assert resized.shape == (1, 32, 12, 2)
    expected = np.clip((np.arange(32) + 0.5) / 4, 0.5, 7.5)
    np.testing.assert_allclose(resized[0, :, 5, 1], expected, rtol=1e-6)


def test_resizing_one_cell_repeats_it():
    resized = ResizeLike()([np.full((2, 1, 1, 3), 4.0), np.zeros((2, 5, 9, 1))])
    np.testing.assert_array_equal(resized, np.full((2, 5, 9, 3), 4.0))


def test_resizing_keeps_the_dtype():
    features = tf.zeros([1, 2, 2, 1], tf.bfloat16)
    assert ResizeLike(dtype="bfloat16")([features, tf.zeros([1, 4, 4, 1])]).dtype == tf.bfloat16


def test_shapes_are_known_where_they_can_be():
    x, like = keras.Input((30, None, 3)), keras.Input((31, 47, 2))
    assert PadToMultiple(16)(x).shape == (None, 32, None, 3)
    assert ResizeLike()([x, like]).shape == (None, 31, 47, 3)
    assert CropLike()([x, like]).shape == (None, 31, 47, 3)


@pytest.mark.parametrize("remainder", [0, 1])
def test_padding_has_the_modulus_of_no_negative_number(monkeypatch, images, remainder):
    """ONNX and others have C's modulus, which is another one of negative numbers."""
    x = images(1, 33, 47, 3)
    expected = PadToMultiple(16, remainder)(x)
    monkeypatch.setattr(tf.Tensor, "__mod__", tf.truncatemod)
    monkeypatch.setattr(tf.math, "floormod", tf.truncatemod)
    np.testing.assert_array_equal(PadToMultiple(16, remainder)(x), expected)
