"""The center loss' kernel against its formula."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.kernels.against_formula import KINDS, assert_equal, example
from tfsegloss.kernels import center
from tfsegloss.losses.center import center_distance


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("hostile", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_formula(kind, hostile, compiled):
    centers = tf.constant(np.random.default_rng(1).normal(size=(5, 5)))
    assert_equal(
        lambda targets, x: center.distances(x, targets, centers),
        lambda targets, x: center_distance(targets, x, centers),
        *example(kind, 5, hostile),
        compiled=compiled,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_class_sums_are_those_of_the_valid_pixels(kind):
    targets, x, ignored = example(kind, 5)
    sums, counts = center.class_sums(targets, tf.constant(np.where(ignored[..., None], np.nan, x)))
    truth = np.eye(5)[targets.ids] if kind == "ids" else targets.dense.numpy()
    truth = truth * ~ignored[..., None]
    np.testing.assert_allclose(sums, np.einsum("bhwj,bhwc->jc", truth, x), rtol=1e-12)
    np.testing.assert_allclose(counts, truth.sum((0, 1, 2)), rtol=1e-12)
