"""Boundary IoU against SciPy's erosion, as the paper's code erodes, one class after the other."""

import numpy as np
import pytest
from scipy import ndimage

from tfsegloss.metrics.boundary import boundary_counts

CLASSES, IGNORED = 3, 255


def edge(ids, c, distance, ignored):
    """Take what erosion takes away of a class; the border erodes, what is ignored does not."""
    square = np.ones([3, 3])
    eroded = ndimage.binary_erosion((ids == c) | ignored, square, distance, border_value=0)
    return (ids == c) & ~ignored & ~eroded


def oracle(truth, predicted, distance):
    ignored = truth == IGNORED
    edges = [
        [edge(ids, c, distance, ignored) for c in range(CLASSES)] for ids in (truth, predicted)
    ]
    both = [(a & b).sum() for a, b in zip(*edges, strict=True)]
    return [both, [(a | b).sum() for a, b in zip(*edges, strict=True)]]


def blocks(random, size, share=0.0):
    """Segments a few pixels wide, some pixels ignored."""
    small = random.integers(0, CLASSES, [-(-side // 7) for side in size])
    ids = np.kron(small, np.ones([7, 7], int))[: size[0], : size[1]].astype(np.uint8)
    ids[random.random(size) < share] = IGNORED
    return ids


@pytest.mark.parametrize(("width", "distance"), [(0.001, 1), (0.03, 2), (0.1, 6)])
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_equals_erosion(width, distance, share):
    random = np.random.default_rng(0)
    truth, predicted = blocks(random, (40, 51), share), blocks(random, (40, 51))
    counts = boundary_counts(truth, predicted, CLASSES, width=width)
    np.testing.assert_array_equal(counts, oracle(truth, predicted, distance))


def test_ignored_pixels_make_no_edge_and_their_prediction_does_not_matter():
    truth = np.zeros([20, 20], np.uint8)
    truth[8:12, 8:12] = IGNORED
    predicted = np.zeros_like(truth)
    predicted[truth == IGNORED] = 200
    ring = 20 * 20 - 18 * 18
    assert boundary_counts(truth, predicted, 2, width=0.01).numpy().tolist() == [
        [ring, 0],
        [ring, 0],
    ]


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 4\), \(4, 5\)"):
        boundary_counts(np.zeros([4, 4]), np.zeros([4, 5]), 2)
