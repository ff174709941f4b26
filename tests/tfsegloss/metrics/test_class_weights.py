"""Weights of classes against loops over images."""

import numpy as np
import pytest

from tfsegloss import SoftmaxCrossEntropy, class_counts, inverse_frequency, median_frequency

CLASSES = 5
IGNORED = 255


@pytest.fixture
def maps():
    """Label maps of several sizes; class 1 is missing from some, class 3 from all."""
    random = np.random.default_rng(0)
    sizes = [(6, 7), (5, 3), (9, 2), (4, 4)]
    maps = [random.choice([0, 0, 0, 1, 2, 4, IGNORED], size=size) for size in sizes]
    maps[1][maps[1] == 1] = 0
    maps[3][:] = IGNORED
    return maps


def frequencies(maps):
    """{c: pixels of c / valid pixels of the images that contain c}, pixel by pixel."""
    found = {}
    for c in range(CLASSES):
        of_class = of_images = 0
        for image in maps:
            valid = [i for i in image.ravel() if i != IGNORED]
            if c in valid:
                of_class += valid.count(c)
                of_images += len(valid)
        if of_class:
            found[c] = of_class / of_images
    return found


def summed(maps, **options):
    return sum(np.array(class_counts(image, CLASSES, **options)) for image in maps)


def test_median_frequency_equals_the_loop(maps):
    found = frequencies(maps)
    median = np.median(list(found.values()))
    expected = [median / found[c] if c in found else 0 for c in range(CLASSES)]
    weights = median_frequency(*summed(maps))
    np.testing.assert_allclose(weights, expected, rtol=1e-14)
    assert weights[3] == 0


def test_the_median_is_that_of_the_classes_that_occur():
    """1/8 of 1/2, 1/8 and 1/16; with an absent class' 0 it would be 3/32."""
    weights = median_frequency([8, 2, 1, 0], [16, 16, 16, 0])
    np.testing.assert_allclose(weights, [1 / 4, 1, 2, 0], rtol=1e-14)


def test_inverse_frequency_equals_the_loop(maps):
    found = frequencies(maps)
    inverse = {c: 1 / f for c, f in found.items()}
    mean = sum(inverse.values()) / len(inverse)
    expected = [inverse[c] / mean if c in found else 0 for c in range(CLASSES)]
    weights = inverse_frequency(*summed(maps))
    np.testing.assert_allclose(weights, expected, rtol=1e-14)
    np.testing.assert_allclose(weights[weights > 0].mean(), 1)


def test_a_batch_counts_as_its_images(maps):
    batch = np.stack([image[:4, :2] for image in maps])
    np.testing.assert_array_equal(class_counts(batch, CLASSES), summed(batch))
    np.testing.assert_array_equal(class_counts(batch[..., None], CLASSES), summed(batch))
    np.testing.assert_array_equal(class_counts(batch[:0], CLASSES), np.zeros([2, CLASSES]))


def test_a_last_axis_of_one_is_no_image(maps):
    expected = class_counts(maps[0], CLASSES)
    np.testing.assert_array_equal(class_counts(maps[0][..., None], CLASSES), expected)
    np.testing.assert_array_equal(class_counts(maps[0][None, ..., None], CLASSES), expected)


@pytest.mark.parametrize("ignored", [7, -1, [7, -1]])
def test_any_ids_can_be_the_ignored_ones(maps, ignored):
    expected = summed(maps)
    other = [np.where(i == IGNORED, np.resize(ignored, i.shape), i) for i in maps]
    np.testing.assert_array_equal(summed(other, ignore_class=ignored), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_ids_of_any_type(maps, dtype):
    np.testing.assert_array_equal(
        class_counts(maps[0].astype(dtype), CLASSES), class_counts(maps[0], CLASSES)
    )


def test_counts_beyond_32_bits():
    pixels, images = np.array([6, 2]) * 10**12, np.array([8, 8]) * 10**12
    np.testing.assert_allclose(median_frequency(pixels, images), [2 / 3, 2])


def test_losses_take_the_weights(maps):
    weights = median_frequency(*summed(maps))
    ids = maps[0][None]
    logits = np.zeros([*ids.shape, CLASSES], np.float32)
    value = SoftmaxCrossEntropy(class_weights=weights)(ids, logits)
    np.testing.assert_allclose(value, np.log(5) * weights[ids[ids != IGNORED]].mean(), rtol=1e-6)


@pytest.mark.parametrize(
    ("ids", "num_classes", "message"),
    [
        ([[0, 5]], 5, r"\[0, 5\).* 5$"),
        ([[0, -1]], 5, r"\[0, 5\).* -1$"),
        ([[0, 2**32 + 1]], 5, r"\[0, 5\).* 4294967297$"),
        ([[0, 2**32 + 255]], 5, r"\[0, 5\).* 4294967551$"),
        (np.array([[2**64 - 1]], np.uint64), 5, r"\[0, 5\)"),
        ([0, 1], 5, r"Received: ids.shape=\(2,\)"),
        (np.zeros([1, 2, 2, 5]), 5, r"ids.shape=\(1, 2, 2, 5\)"),
        ([[0]], 1, "`num_classes` must be an integer of at least 2. Received: num_classes=1"),
    ],
)
def test_wrong_labels_are_named(ids, num_classes, message):
    with pytest.raises(ValueError, match=message):
        class_counts(ids, num_classes)


@pytest.mark.parametrize("weighting", [median_frequency, inverse_frequency])
@pytest.mark.parametrize(
    ("pixels", "images", "message"),
    [
        ([1, 2], [3], r"pixels.shape=\(2,\), image_pixels.shape=\(1,\)"),
        ([5, 2], [4, 2], r"at most `image_pixels`. Received: pixels=\[5.0, 2.0\]"),
        ([-1, 2], [4, 2], "must be ≥ 0"),
        ([np.nan, 2], [4, 2], "nan"),
        ([0, 0], [0, 0], r"a class must occur. Received: pixels=\[0.0, 0.0\]"),
    ],
)
def test_wrong_counts_are_named(weighting, pixels, images, message):
    with pytest.raises(ValueError, match=message):
        weighting(pixels, images)
