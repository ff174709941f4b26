"""Drawing crops by class: the shares come out, the crops hold the class, the state is kept."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from train.common.errors import UserError
from train.config import DataConfig, InputConfig, SamplingConfig
from train.data.datasets.registry import CAMVID, SCENES
from train.data.decoding.labels import decode_raw_labels
from train.data.decoding.palette import IGNORED
from train.data.input.pipeline import training_stream
from train.data.input.sampling import (
    SAMPLING_UNIFORMS,
    ClassSampling,
    ComplementaryWeights,
    draw_pixel,
)
from train.data.samples.statistics import SplitStatistics, collect_statistics
from train.runs.data import RunData, class_sampling, open_data

# Of four samples: the first has classes 0 and 1, the second 1, the third 2, the fourth none.
PIXELS = np.array([[5, 1, 0, 0], [0, 9, 0, 0], [0, 0, 3, 0], [0, 0, 0, 0]])


def draws(sampling, count=4000, index=3):
    """How often each pair of a sample and a class is drawn."""
    uniforms = np.random.default_rng(0).uniform(size=[count, SAMPLING_UNIFORMS]).astype(np.float32)

    @tf.function
    def draw_all():
        spec = tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int32)
        return tf.map_fn(
            lambda row: sampling.draw(tf.constant(index, tf.int64), row),
            tf.constant(uniforms),
            fn_output_signature=spec,
        )

    return Counter(zip(*(column.numpy().tolist() for column in draw_all()), strict=True))


def test_classes_come_in_their_shares_and_samples_have_them():
    sampling = ClassSampling.of(PIXELS, np.array([0.5, 0.25, 0.25, 7.0]), uniform_share=0.2)
    counts = draws(sampling)
    assert counts.keys() == {(3, -1), (0, 0), (0, 1), (1, 1), (2, 2)}  # never class 3: it has none
    expected = {(3, -1): 0.2, (0, 0): 0.4, (0, 1): 0.1, (1, 1): 0.1, (2, 2): 0.2}
    for pair, share in expected.items():
        assert counts[pair] / 4000 == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_never_or_always_uniform(share):
    counts = draws(ClassSampling.of(PIXELS, np.ones(4), uniform_share=share), count=200)
    assert ((3, -1) in counts) == bool(share)
    assert len(counts) == (1 if share else 4)


def test_the_extremes_of_the_random_numbers_are_within_reach():
    sampling = ClassSampling.of(PIXELS, np.ones(4), uniform_share=0.0)
    for value in (0.0, np.nextafter(np.float32(1), np.float32(0))):
        sample, drawn = sampling.draw(tf.constant(3), tf.fill([SAMPLING_UNIFORMS], value))
        assert PIXELS[int(sample), int(drawn)] > 0


def test_every_pixel_of_the_class_is_drawn_and_no_other(train_samples):
    raw_labels = decode_raw_labels(train_samples.read(0)[1], train_samples.encoding)
    ids = raw_labels.values.numpy()  # of the scenes an index of the palette is the class
    drawn = np.unique(ids[ids != IGNORED])[2]
    places = {tuple(place) for place in np.argwhere(ids == drawn)}
    uniforms = (np.arange(3 * len(places)) / (3 * len(places))).astype(np.float32)

    @tf.function
    def pick_all():
        pick = tf.constant(drawn, tf.int32)
        return tf.map_fn(
            lambda uniform: draw_pixel(raw_labels, pick, uniform),
            tf.constant(uniforms),
            fn_output_signature=tf.TensorSpec([2], tf.int32),
        )

    assert {tuple(place) for place in pick_all().numpy()} == places


CAR = SCENES.class_names.index("car")


@pytest.fixture(scope="module")
def cars(train_samples):
    """Return a stream of crops centered on cars, from some step on."""
    pixels = collect_statistics(train_samples, SCENES.num_classes).pixels
    sampling = ClassSampling.of(pixels, np.eye(SCENES.num_classes)[CAR], uniform_share=0.0)
    config = InputConfig(crop=(9, 9), scale=(1.0, 1.0))
    options = {"batch_size": 8, "seed": 0, "sampling": sampling}
    return lambda step=0: training_stream(train_samples, config, first_step=step, **options)


def test_crops_are_centered_on_the_class_and_the_stream_starts_anywhere(cars):
    whole = [*cars().take(6)]
    ids = np.concatenate([ids for _, ids in whole])
    assert (ids == CAR).any(axis=(1, 2)).all()
    assert (ids[:, 4, 4] == CAR).mean() > 0.8  # the others lie at the border of their image
    (tail,) = cars(5).take(1)
    np.testing.assert_array_equal(whole[5][0], tail[0])


def test_shares_grow_as_the_iou_falls_and_change_only_when_refreshed():
    sampling_weights = ComplementaryWeights(3)
    matrix = np.array([[90, 10, 0], [10, 40, 0], [0, 0, 0]])  # IoU 90/110, 40/60, none
    sampling_weights.observe(tf.constant(matrix))
    np.testing.assert_allclose(sampling_weights.weights, 1 / 3)
    sampling_weights.refresh()
    missing = np.array([20 / 110, 20 / 60, 1.0]) + 1e-3
    np.testing.assert_allclose(sampling_weights.weights, missing / missing.sum())


def test_the_running_iou_forgets():
    sampling_weights = ComplementaryWeights(2)
    wrong, right = np.array([[0, 50], [50, 0]]), np.array([[50, 0], [0, 50]])
    sampling_weights.observe(tf.constant(wrong))
    for _ in range(500):
        sampling_weights.observe(tf.constant(right))
    assert sampling_weights.matrix.numpy()[0, 1] < 1 < 4000 < sampling_weights.matrix.numpy()[0, 0]


def test_perfect_classes_are_drawn_alike():
    sampling_weights = ComplementaryWeights(2)
    sampling_weights.observe(tf.constant([[5, 0], [0, 70]]))
    sampling_weights.refresh()
    np.testing.assert_allclose(sampling_weights.weights, 0.5)


@pytest.mark.parametrize("verify", [pytest.param(True, marks=pytest.mark.full), False])
def test_what_a_run_draws(scenes_root, verify):
    options = DataConfig(root=scenes_root, verify=verify)
    uniform = SamplingConfig()
    assert class_sampling(RunData(None, None, None, []), uniform, None) is None
    balanced = replace(uniform, strategy="class_balanced", uniform_share=0.3)
    data = open_data(SCENES, options, needs_statistics=True)
    sampling = class_sampling(data, balanced, None)
    present = data.statistics.pixels.any(axis=0)
    np.testing.assert_allclose(sampling.shares, present / present.sum())
    assert sampling.uniform_share == 0.3
    sampling_weights = ComplementaryWeights(SCENES.num_classes)
    sampling_weights.observe(tf.eye(SCENES.num_classes) * np.arange(SCENES.num_classes)[::-1])
    sampling_weights.refresh()
    complementary = replace(balanced, strategy="complementary")
    np.testing.assert_array_less(
        0.5, class_sampling(data, complementary, sampling_weights).shares[-1]
    )  # the only class without a single right pixel


def confusion_of(frequencies):
    """Return 100,000 pixels by a network that knows each class as well as it is frequent."""
    known = frequencies / frequencies.max()
    wrong = (1 - known)[:, np.newaxis] * frequencies  # taken for others as often as these occur
    return 1e5 * frequencies[:, np.newaxis] * (np.diag(known) + wrong)


@pytest.mark.full
def test_of_camvid_the_rarest_classes_are_drawn_three_times_as_often(camvid_root):
    """Half of the crops drawn uniformly, the others by how classes are segmented, here the worse
    the rarer they are.
    """
    pixels = collect_statistics(CAMVID.samples("train", camvid_root), CAMVID.num_classes).pixels
    frequencies = pixels.sum(axis=0) / pixels.sum()
    sampling_weights = ComplementaryWeights(CAMVID.num_classes)
    sampling_weights.observe(confusion_of(frequencies))
    sampling_weights.refresh()
    sampling = ClassSampling.of(pixels, sampling_weights.weights.numpy(), 0.5)
    drawn = sampling.frequencies(frequencies)
    rarest = np.argsort(frequencies)[:3]
    assert {CAMVID.class_names[i] for i in rarest} == {"bicyclist", "pedestrian", "pole"}
    assert (drawn[rarest] > 3 * frequencies[rarest]).all()
    counts = draws(sampling, count=6000)
    for i in rarest:
        by_class = sum(count for (_, c), count in counts.items() if c == i) / 6000
        assert by_class > 3 * frequencies[i]


def test_sampling_by_class_needs_one():
    none = survey_of(np.zeros([2, SCENES.num_classes], np.int64))
    options = SamplingConfig(strategy="class_balanced")
    with pytest.raises(UserError, match="no pixel of the training data has one"):
        class_sampling(RunData(None, None, none, []), options, None)


def survey_of(pixels):
    rest = np.zeros([len(pixels)], np.int64)
    return SplitStatistics(pixels, rest, rest, rest, rest)
