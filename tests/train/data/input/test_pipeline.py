"""The stream: a function of seed and position, in which labels follow their images."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tests.train.data.painted import blocks, jpeg, png
from train.config import InputConfig
from train.data.datasets.registry import SCENES
from train.data.decoding.labels import LabelEncoding
from train.data.decoding.palette import IGNORED
from train.data.input.pipeline import step_samples, training_stream
from train.data.input.sampling import ClassSampling
from train.data.samples.samples import FileSamples

CONFIG = InputConfig(crop=(24, 32), scale=(0.5, 2.0), color_jitter=0.2)
PLAIN = InputConfig(crop=(24, 32), scale=(1.0, 1.0), flip=False)


def stream(samples, config=CONFIG, **options):
    return training_stream(samples, config, **{"batch_size": 4, "seed": 3, **options})


@pytest.fixture(scope="module")
def whole(train_samples):
    """Return the first batches of a stream."""
    return [*stream(train_samples).take(4).as_numpy_iterator()]


def test_starts_anywhere(whole, train_samples):
    tail = stream(train_samples, first_step=2).take(2)
    for ours, theirs in zip(tail, whole[2:], strict=True):
        for part, expected in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(part, expected)


def test_another_seed_draws_other_crops(train_samples):
    one = train_samples.subset([0])
    first, second = (next(iter(stream(one, seed=seed)))[1].numpy() for seed in (3, 4))
    assert (first != second).any()


def test_an_epoch_has_every_sample_once_in_an_order_of_its_own_and_of_the_seed(train_samples):
    orders = []
    for seed in (3, 4):
        whole_images = replace(PLAIN, crop=(48, 64))
        batches = stream(train_samples, whole_images, seed=seed, batch_size=6).take(2)
        orders += [tuple(hash(image.tobytes()) for image in i.numpy()) for i, _ in batches]
    assert {frozenset(order) for order in orders} == {frozenset(orders[0])}
    assert len(set(orders[0])) == len(train_samples) == 6
    assert len(set(orders)) == 4


def test_the_workers_parts_are_disjoint_and_together_complete(whole, train_samples):
    """Wherever the stream starts."""
    parts = [
        stream(train_samples, first_step=2, worker=worker, workers=2).take(2) for worker in range(2)
    ]
    for expected, *shares in zip(whole[2:], *parts, strict=True):
        for part, *of_workers in zip(expected, *shares, strict=True):
            np.testing.assert_array_equal(np.concatenate(of_workers), part)


def test_a_batch_that_cannot_be_shared_among_the_workers_is_refused(train_samples):
    with pytest.raises(ValueError, match="multiple of workers=3. Received: batch_size=4"):
        stream(train_samples, workers=3)


@pytest.mark.parametrize(
    ("encode", "sampling"),
    [
        (jpeg, None),
        (png, "by class"),
        pytest.param(png, None, marks=pytest.mark.full),
        pytest.param(jpeg, "by class", marks=pytest.mark.full),
    ],
)
def test_labels_follow_the_image(encode, sampling, tmp_path):
    """From files whose labels are painted into their images."""
    image, ids = blocks((60, 80))
    paths = tmp_path / "image", tmp_path / "labels"
    for path, contents in zip(paths, (encode(image), png(ids)), strict=True):
        path.write_bytes(contents)
    samples = FileSamples(SCENES.encoding, *((path,) for path in paths))
    if sampling:
        counts = np.bincount(ids.numpy().ravel(), minlength=SCENES.num_classes)
        sampling = ClassSampling.of(counts[np.newaxis], np.ones(SCENES.num_classes), 0.5)
    config = replace(PLAIN, flip=True)
    for images, labels in stream(samples, config, sampling=sampling).take(5):
        assert not (labels.numpy() == IGNORED).any()
        painted = images.numpy()[..., 0] / 40  # of a JPEG not quite the ids
        np.testing.assert_array_equal(painted.round(), labels)


@pytest.mark.parametrize("by_class", [False, True])
def test_the_samples_of_a_step_are_those_of_its_batch(tmp_path, by_class):
    """Each image has a gray of its own; the second class is in two of them alone."""
    rare, paths = (2, 5), ([], [])
    for number in range(6):
        image = np.full([30, 40, 3], 40 * number, np.uint8)
        labels = np.full([30, 40], number in rare, np.uint8)
        for kind, values in enumerate((image, labels)):
            paths[kind].append(tmp_path / f"{kind}_{number}.png")
            paths[kind][-1].write_bytes(png(tf.constant(values)))
    samples = FileSamples(LabelEncoding("gray", {0: 0, 1: 1}, {}), *map(tuple, paths))
    pixels = 1200 * np.eye(2, dtype=int)[[int(number in rare) for number in range(6)]]
    sampling = ClassSampling.of(pixels, np.array([0, 1]), uniform_share=0.25) if by_class else None
    options = {"batch_size": 4, "seed": 3, "sampling": sampling}
    drawn = []
    for step, (images, _) in enumerate(training_stream(samples, PLAIN, **options).take(6)):
        found = step_samples(samples, step, **options)
        assert [40 * number for number in found] == images[:, 12, 16, 0].numpy().tolist()
        drawn += found
    counts = np.bincount(drawn, minlength=6)
    assert (counts[[*rare]].sum() > 12) == by_class
    assert by_class or (counts == 4).all()
