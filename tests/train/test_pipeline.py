"""Augmentation keeps image and labels together; the stream is a function of seed and position."""

import numpy as np
import pytest
import tensorflow as tf

from train.augmentation import augment, resize
from train.config import InputConfig
from train.datasets import SCENES
from train.palette import IGNORED
from train.pipeline import training_stream

CONFIG = InputConfig(crop=(24, 32), scale=(0.5, 2.0))


def seeds(count):
    return [tf.constant([0, i], tf.int64) for i in range(count)]


@pytest.mark.parametrize("size", [(40, 50), (10, 70), (3, 2), (1, 1)])
def test_ids_never_grow_and_labels_follow_the_image(size):
    """Ids are blocks painted into the image too: they must still match after every transform."""
    random = np.random.default_rng(0)
    blocks = random.integers(0, 5, [-(-size[0] // 10), -(-size[1] // 10)])
    ids = blocks.repeat(10, 0).repeat(10, 1)[: size[0], : size[1]].astype(np.uint8)
    image = np.repeat(ids[..., None] * 40, 3, axis=-1)
    for seed in seeds(20):
        out_image, out_ids = augment(tf.constant(image), tf.constant(ids), CONFIG, seed)
        assert out_image.shape == (24, 32, 3)
        assert out_ids.shape == (24, 32)
        assert set(np.unique(out_ids)) <= {*np.unique(ids), IGNORED}
        inside = out_ids.numpy() != IGNORED
        assert inside.any()
        painted = out_image.numpy()[..., 0] / 40
        # Interpolated pixels lie between the ids of two blocks; all others match exactly.
        matches = abs(painted - out_ids.numpy())[inside] < 0.5
        assert matches.mean() > 0.9
        assert (out_image.numpy()[~inside] == 127.5).all()


def test_augmentation_is_a_function_of_the_seed():
    random = np.random.default_rng(0)
    image = tf.constant(random.integers(0, 256, [40, 50, 3]), tf.uint8)
    ids = tf.constant(random.integers(0, 5, [40, 50]), tf.uint8)
    first, again, other = (augment(image, ids, CONFIG, s) for s in [*seeds(1), *seeds(2)])
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0].numpy() != other[0].numpy()).any()


def test_scales_and_mirrors_as_configured():
    ids = tf.constant(np.tile(np.arange(32, dtype=np.uint8), [24, 1]))
    image = tf.repeat(ids[..., None], 3, axis=-1)
    plain = InputConfig(crop=(24, 32), scale=(1.0, 1.0), flip=False)
    for seed in seeds(5):
        np.testing.assert_array_equal(augment(image, ids, plain, seed)[1], ids)
    mirrored = InputConfig(crop=(24, 32), scale=(1.0, 1.0))
    results = [augment(image, ids, mirrored, seed)[1].numpy() for seed in seeds(20)]
    straight = sum((result == ids.numpy()).all() for result in results)
    turned = sum((result == ids.numpy()[:, ::-1]).all() for result in results)
    assert straight + turned == 20
    assert min(straight, turned) > 3


def test_resize_takes_ids_by_nearest():
    ids = tf.constant([[0, 10], [3, 255]], tf.uint8)
    image = tf.zeros([2, 2, 3])
    np.testing.assert_array_equal(
        resize(image, ids, 2.0)[1], np.kron(ids, np.ones([2, 2], np.uint8))
    )
    assert resize(image, ids, 0.01)[1].shape == (1, 1)


def stream(samples, **options):
    options = {"batch_size": 2, "seed": 3, **options}
    return training_stream(samples, SCENES, CONFIG, **options)


def test_starts_anywhere(train_samples):
    whole = list(stream(train_samples).take(5))
    tail = list(stream(train_samples, first_step=3).take(2))
    for (images, ids), (tail_images, tail_ids) in zip(whole[3:], tail, strict=True):
        np.testing.assert_array_equal(images, tail_images)
        np.testing.assert_array_equal(ids, tail_ids)


def test_another_seed_is_another_stream(train_samples):
    first, second = (next(iter(stream(train_samples, seed=seed)))[0] for seed in (0, 1))
    assert (first.numpy() != second.numpy()).any()


def test_an_epoch_has_every_sample_once_in_another_order(train_samples):
    plain = InputConfig(crop=(48, 64), scale=(1.0, 1.0), flip=False)
    batches = training_stream(train_samples, SCENES, plain, batch_size=2, seed=0).take(6)
    images = np.concatenate([images for images, _ in batches])
    prints = [hash(image.tobytes()) for image in images]
    assert len(set(prints[:6])) == len(set(prints[6:])) == 6
    assert set(prints[:6]) == set(prints[6:])
    assert prints[:6] != prints[6:]
