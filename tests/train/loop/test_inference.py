"""A network sees whole images at its resolution, and answers at theirs."""

import numpy as np
import pytest
import tensorflow as tf

from train.loop.inference import predict_classes, whole_image_logits


@pytest.mark.parametrize(("resolution", "size"), [(1.0, (10, 14)), (0.5, (5, 7)), (1.5, (15, 21))])
def test_images_are_resized_for_the_network_and_its_logits_back(resolution, size):
    images = tf.constant(np.random.default_rng(0).integers(0, 256, [2, 10, 14, 3]), tf.uint8)
    seen = []

    def model(images, training):
        seen.append((tuple(images.shape), images.dtype, training))
        return images

    logits = whole_image_logits(model, images, resolution)
    assert seen == [((2, *size, 3), tf.float32, False)]
    at_resolution = tf.image.resize(tf.cast(images, tf.float32), size)
    np.testing.assert_allclose(logits, tf.image.resize(at_resolution, [10, 14]))


def test_the_class_is_that_of_the_largest_logit():
    ids = predict_classes(tf.constant([[[[1.0, 3.0, 2.0], [5.0, 4.0, -1.0]]]]))
    assert ids.dtype == tf.uint8
    assert ids.numpy().tolist() == [[[1, 0]]]
