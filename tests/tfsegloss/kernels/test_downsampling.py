"""Downsampled maps against loops, and their gradients against the matrices of the maps."""

import numpy as np
import pytest
import tensorflow as tf

from tfsegloss.kernels import downsampling

SIZES = [(1, 1), (2, 3), (7, 5), (9, 16)]


def bilinear_matrix(size, factor):
    """Rows of the interpolation with aligned corners, by its definition."""
    small = max(1, size // factor)
    matrix = np.zeros([small, size])
    for i in range(small):
        position = i * (size - 1) / max(small - 1, 1)
        low = min(int(position + 1e-9), size - 1)
        share = position - low
        matrix[i, low] += 1 - share
        if share > 1e-9:
            matrix[i, low + 1] += share
    return matrix


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
@pytest.mark.parametrize("size", SIZES)
def test_bilinear_equals_its_matrices_and_its_gradient_their_transposes(size, factor):
    random = np.random.default_rng(0)
    maps = tf.constant(random.normal(size=(2, *size, 3)))
    valid = random.random((2, *size)) < 0.8
    rows, columns = (bilinear_matrix(n, factor) for n in size)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        small = downsampling.bilinear(maps, tf.constant(valid), factor)
        upstream = tf.constant(random.normal(size=small.shape))
        total = tf.reduce_sum(small * upstream)
    kept = maps.numpy() * valid[..., None]
    np.testing.assert_allclose(
        small, np.einsum("ih,jw,bhwc->bijc", rows, columns, kept), atol=1e-12
    )
    expected = np.einsum("ih,jw,bijc->bhwc", rows, columns, upstream) * valid[..., None]
    np.testing.assert_allclose(tape.gradient(total, maps), expected, atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
@pytest.mark.parametrize("size", SIZES)
def test_nearest_takes_the_rows_of_its_formula(size, factor):
    maps = np.arange(np.prod(size)).reshape([1, *size])
    rows, columns = (
        [i * n // max(1, n // factor) for i in range(max(1, n // factor))] for n in size
    )
    np.testing.assert_array_equal(
        downsampling.nearest(tf.constant(maps), factor), maps[:, rows][:, :, columns]
    )


@pytest.mark.parametrize("method", ["avg", "max"])
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", SIZES)
def test_pooled_equals_the_loop(size, factor, method):
    maps = np.random.default_rng(0).random([1, *size, 2])
    margin = factor // 2
    padded = np.pad(maps, [(0, 0), (margin, margin), (margin, margin), (0, 0)])
    height, width = ((n + 2 * margin) // factor for n in size)
    reduce = np.mean if method == "avg" else np.max
    expected = [
        [
            reduce(padded[0, i * factor : (i + 1) * factor, j * factor : (j + 1) * factor], (0, 1))
            for j in range(width)
        ]
        for i in range(height)
    ]
    actual = downsampling.pooled(tf.constant(maps), factor, method)
    np.testing.assert_allclose(actual[0], np.reshape(expected, [height, width, 2]), atol=1e-12)
