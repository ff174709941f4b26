"""A box of an image is decoded as it is in the whole image."""

import numpy as np
import pytest
import tensorflow as tf

from tests.train.data.painted import jpeg, png
from train.data.decoding.errors import DataError
from train.data.decoding.images import crop, decode_box, decode_image


@pytest.mark.parametrize("encode", [jpeg, png])
@pytest.mark.parametrize("box", [(0, 0, 40, 50), (7, 11, 20, 30), (39, 49, 1, 1)])
def test_a_box_is_decoded_as_it_is_in_the_whole_image(encode, box):
    pixels = np.random.default_rng(0).integers(0, 256, [40, 50, 3]).astype(np.uint8)
    contents = tf.constant(encode(tf.constant(pixels)))
    part = decode_box(contents, tf.constant(box), tf.constant([40, 50]))
    np.testing.assert_array_equal(part, crop(decode_image(contents), tf.constant(box)))


@pytest.mark.parametrize("encode", [jpeg, png])
@pytest.mark.parametrize("size", [(41, 50), (50, 40), (39, 50)])
def test_an_image_of_another_size_than_its_labels_is_refused(encode, size):
    contents = tf.constant(encode(tf.zeros([40, 50, 3], tf.uint8)))
    with pytest.raises(DataError, match=r"the image is 40, 50 \(height, width\)"):
        decode_box(contents, tf.constant([0, 0, 4, 4]), tf.constant(size))


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_refused_with_the_range_found(channels):
    """12-bit values would be nearly black: the decoder drops the lower 8 bits."""
    values = np.arange(100, 4096, 37, dtype=np.uint16)[: 9 * 11 * channels // 3 * 3]
    contents = tf.io.encode_png(np.resize(values, [9, 11, channels]))
    low, high = np.resize(values, [9, 11, channels]).min(), np.resize(values, 99 * channels).max()
    with pytest.raises(DataError, match=f"8 bits .* has 16, with values from {low} to {high}: "):
        decode_image(contents)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.function(decode_image)(contents)
