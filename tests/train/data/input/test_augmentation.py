"""Augmentation keeps image and labels together, to the pixel where nothing is interpolated."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tests.train.data.painted import blocks
from train.config import InputConfig
from train.data.decoding.images import crop
from train.data.decoding.palette import IGNORED
from train.data.input.augmentation import (
    CROP_UNIFORMS,
    DrawnCrop,
    color_and_pad,
    draw_crop,
    resize_and_flip,
)

CONFIG = InputConfig(crop=(24, 32), scale=(0.5, 2.0))
PLAIN = InputConfig(crop=(24, 32), scale=(1.0, 1.0), flip=False)


def uniforms(seed):
    return tf.random.stateless_uniform([CROP_UNIFORMS], [0, seed])


def augment(image, ids, config, seed):
    """Augment a sample as the stream does it."""
    drawn = draw_crop(tf.shape(ids), config, uniforms(seed))
    return color_and_pad(
        *resize_and_flip(crop(image, drawn.box), crop(ids, drawn.box), drawn), drawn, config
    )


@pytest.mark.parametrize("size", [(40, 50), (10, 70), (3, 2), (1, 1), (200, 300)])
@pytest.mark.parametrize(
    ("config", "share"),
    [(CONFIG, 0.85), (replace(CONFIG, resolution=0.5, scale_step=0.5), 0.6)],
    ids=["any scale", "halved"],
)
def test_ids_never_grow_and_labels_follow_the_image(size, config, share):
    image, ids = blocks(size)
    for seed in range(20):
        out_image, out_ids = augment(image, ids, config, seed)
        assert out_image.shape == (24, 32, 3)
        assert out_ids.shape == (24, 32)
        assert set(np.unique(out_ids)) <= {*np.unique(ids), IGNORED}
        inside = out_ids.numpy() != IGNORED
        assert inside.any()
        painted = out_image.numpy()[..., 0] / 40
        # Interpolated pixels lie between the ids of two blocks, the more of them the smaller the
        # scale; all others match exactly.
        matches = abs(painted - out_ids.numpy())[inside] < 0.5
        assert matches.mean() > share
        assert (out_image.numpy()[~inside] == 128).all()


def test_labels_follow_the_image_to_the_pixel_where_nothing_is_interpolated():
    image, ids = blocks((60, 80))
    for seed in range(20):
        out_image, out_ids = augment(image, ids, replace(PLAIN, flip=True), seed)
        np.testing.assert_array_equal(out_image[..., 0], out_ids.numpy() * 40.0)


def test_a_crop_at_half_resolution_shows_twice_as_much():
    size = tf.constant([100, 200])
    drawn = draw_crop(size, replace(PLAIN, resolution=0.5), uniforms(0))
    assert drawn.box[2:].numpy().tolist() == [48, 64]
    assert drawn.size.numpy().tolist() == [24, 32]


def test_colors_are_rounded_to_the_nearest_byte():
    drawn = draw_crop(tf.constant([24, 32]), PLAIN, uniforms(0))
    image, ids = tf.fill([24, 32, 3], 99.75), tf.zeros([24, 32], tf.uint8)
    rounded, _ = color_and_pad(image, ids, drawn, PLAIN)
    assert np.unique(rounded).tolist() == [100]


def test_augmentation_is_a_function_of_the_seed():
    random = np.random.default_rng(0)
    image = tf.constant(random.integers(0, 256, [40, 50, 3]), tf.uint8)
    ids = tf.constant(random.integers(0, 5, [40, 50]), tf.uint8)
    first, again, other = (augment(image, ids, CONFIG, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0].numpy() != other[0].numpy()).any()


def test_scales_and_mirrors_as_configured():
    ids = tf.constant(np.tile(np.arange(32, dtype=np.uint8), [24, 1]))
    image = tf.repeat(ids[..., None], 3, axis=-1)
    for seed in range(5):
        np.testing.assert_array_equal(augment(image, ids, PLAIN, seed)[1], ids)
    results = [augment(image, ids, replace(PLAIN, flip=True), s)[1].numpy() for s in range(20)]
    straight = sum((result == ids.numpy()).all() for result in results)
    turned = sum((result == ids.numpy()[:, ::-1]).all() for result in results)
    assert straight + turned == 20
    assert min(straight, turned) > 3


def boxes(config, size=(400, 400), count=300):
    """Top, left, height and width of many crops."""

    @tf.function
    def draw_all():
        random = tf.random.stateless_uniform([count, CROP_UNIFORMS], [0, 0])
        spec = tf.TensorSpec([4], tf.int32)
        return tf.map_fn(
            lambda row: draw_crop(size, config, row).box, random, fn_output_signature=spec
        )

    return draw_all().numpy()


def test_the_scale_is_uniform_in_its_range():
    scales = 24 / boxes(CONFIG)[:, 2]
    assert scales.min() < 0.55
    assert scales.max() > 1.9
    assert abs(scales.mean() - 1.25) < 0.1


def test_the_scales_of_a_list_all_occur_and_no_other():
    heights = np.unique(boxes(replace(CONFIG, scale_step=0.5))[:, 2])
    np.testing.assert_array_equal(heights, [12, 16, 24, 48])  # scales 2, 1.5, 1 and 0.5


@pytest.mark.parametrize("step", [0.4, 0.7, 2.0])
def test_a_step_that_does_not_divide_the_range_stays_in_it(step):
    scales = 24 / boxes(replace(CONFIG, scale_step=step))[:, 2]
    expected = 0.5 + step * np.arange(int(1.5 / step) + 1)
    np.testing.assert_allclose(np.unique(scales), expected, rtol=0.05)


def test_crops_are_anywhere_with_equal_probability():
    drawn = boxes(PLAIN, size=(27, 400), count=400)
    places, counts = np.unique(drawn[:, 0], return_counts=True)
    np.testing.assert_array_equal(places, [0, 1, 2, 3])
    assert counts.min() > 70
    assert drawn[:, 1].max() > 350  # of 368


def test_a_crop_is_centered_where_it_is_asked_to_be_and_stays_inside():
    top, left, *_ = draw_crop((100, 100), PLAIN, uniforms(0), tf.constant([50, 60])).box.numpy()
    assert (top, left) == (50 - 12, 60 - 16)
    top, left, *_ = draw_crop((100, 100), PLAIN, uniforms(0), tf.constant([99, 0])).box.numpy()
    assert (top, left) == (100 - 24, 0)


def test_the_crop_keeps_the_aspect_of_an_image_that_is_smaller():
    drawn = draw_crop((10, 400), replace(PLAIN, scale=(2.0, 2.0)), uniforms(0))
    np.testing.assert_array_equal(drawn.box[2:], [10, 16])
    np.testing.assert_array_equal(drawn.size, [20, 32])


def test_color_changes_within_its_range_and_labels_do_not():
    image = tf.constant(np.full([24, 32, 3], [60, 100, 140], np.uint8))
    ids = tf.zeros([24, 32], tf.uint8)
    means = []
    for seed in range(50):
        out, out_ids = augment(image, ids, replace(PLAIN, color_jitter=0.2), seed)
        assert not out_ids.numpy().any()
        means.append(tf.reduce_mean(out).numpy())
    assert 75 < min(means) < 90  # 100 less 20 % and what saturation does
    assert 110 < max(means) < 125


@pytest.mark.parametrize("size", [(48, 64), (7, 90), (200, 33), (1, 1)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_labels_are_resized_as_tensorflow_does_it(size, mirrored):
    labels = tf.random.stateless_uniform([30, 41], [0, 0], maxval=256, dtype=tf.int32)
    labels = tf.cast(labels, tf.uint8)
    drawn = DrawnCrop(None, tf.constant(size), tf.constant(mirrored), None)
    _, ours = resize_and_flip(tf.zeros([30, 41, 3], tf.uint8), labels, drawn)
    source = labels[:, ::-1] if mirrored else labels
    nearest = tf.image.ResizeMethod.NEAREST_NEIGHBOR
    theirs = tf.image.resize(source[..., tf.newaxis], size, nearest)[..., 0]
    # At x.5 between two pixels either is right: mirrored it is the other one.
    assert np.mean(ours.numpy() == theirs) > (0.95 if mirrored else 0.9999)
