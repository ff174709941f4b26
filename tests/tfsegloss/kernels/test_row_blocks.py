"""Blocks of rows give what the whole image gives, gradient included."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss import oracles
from tests.tfsegloss.examples import example
from tests.tfsegloss.grid import grid
from tests.tfsegloss.steps import step_of, value_and_gradient
from tfsegloss import LADLoss, SSIMLoss, SSLLoss
from tfsegloss.core.targets import encode_targets, zero_ignored
from tfsegloss.kernels.row_blocks import edge_counts, map_row_blocks

# Blocks are there in clusters alone, and where an image has more than 64 rows. 114 = 2 · 57 rows
# are two blocks; no number of rows divides 131.
HEIGHTS_IN_BLOCKS = [3, 114, 131]


def weighted_sum(near):
    """A map that tells the rows apart, of rows that are neighbors."""
    total = tf.add_n([(i + 1) * rows for i, rows in enumerate(near)])
    return tf.reduce_sum(tf.square(total), axis=-1)


def of_block(margin):
    """A function of a block of rows that sees `margin` rows on both sides."""

    def function(x, targets):
        x = zero_ignored(x, targets.valid)
        rows = tf.shape(x)[0] - 2 * margin
        return weighted_sum([x[i : i + rows] for i in range(2 * margin + 1)])

    return function


def of_whole(x, margin, reflect):
    """The same of all rows at once, from NumPy's padding."""
    margins = [[0, 0], [margin, margin], [0, 0], [0, 0]]
    x = np.pad(x, margins, mode="reflect" if reflect else "constant")
    rows = x.shape[1] - 2 * margin
    return weighted_sum([x[:, i : i + rows] for i in range(2 * margin + 1)])


def assert_blocks_equal_the_whole(height, margin, reflect, run_as=lambda function: function, **how):
    x = tf.random.stateless_normal([2, height, 5, 3], [1, 2])
    targets = encode_targets(tf.zeros([2, height, 5]), num_classes=3)

    def blocks(x):
        return map_row_blocks(of_block(margin), x, targets, margin=margin, reflect=reflect, **how)

    expected = of_whole(x.numpy(), margin, reflect)
    np.testing.assert_allclose(run_as(blocks)(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("height", [1, 2, 3, 33, 114, 131])
@pytest.mark.parametrize("margin", [0, 1, 2])
@pytest.mark.parametrize("reflect", [True, False])
def test_rows_equal_the_whole(height, margin, reflect):
    assert_blocks_equal_the_whole(height, margin, reflect)


@pytest.mark.parametrize("height", HEIGHTS_IN_BLOCKS)
@pytest.mark.parametrize("margin", [0, 2])
@pytest.mark.parametrize("reflect", [True, False])
@pytest.mark.parametrize("write_later", [True, False])
def test_blocks_equal_the_whole(height, margin, reflect, write_later):
    assert_blocks_equal_the_whole(height, margin, reflect, tf.function, write_later=write_later)


@grid(
    lambda loss, height: loss in ("lad", "ssl") and height == 131,
    loss={
        "lad": LADLoss(kernel_size=3),
        "lad_wide": LADLoss(kernel_size=5),
        "ssl": SSLLoss(),
        "ssim": SSIMLoss(),
    },
    height=[114, 131],
)
def test_a_loss_in_blocks_equals_the_whole(loss, height):
    ids, logits = example((1, height, 9))
    # One class on both sides of every border between blocks, and blobs of classes beside it.
    for border in (57, 64, 128):
        rows = ids[:, border - 3 : border + 3, :5]
        rows[rows != 255] = 1
    value, gradient = tf.function(step_of(loss))(ids, tf.constant(logits))
    expected, expected_gradient = value_and_gradient(loss, ids, logits)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    scale = abs(expected_gradient).max()
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5 * scale)


@pytest.mark.parametrize("window", [3, 5, 7])
@pytest.mark.parametrize("shape", [(1, 3), (2, 7), (7, 2), (3, 3)])
def test_the_adjoint_of_a_mirrored_mean_is_a_mean_again(shape, window):
    """mᵀu = m(e·u) / e for m as a matrix, whose columns are the means of single pixels."""
    pixels = np.eye(np.prod(shape)).reshape(-1, *shape)
    weights = oracles.gaussian_window(window, 1.5)
    means = [(weights * oracles.local_patches(pixel, window)).sum((2, 3)) for pixel in pixels]
    mean = np.stack(means, -1).reshape(len(pixels), len(pixels))
    edges = edge_counts(tf.ones([1, *shape], tf.bool), tf.float64).numpy().ravel()
    upstream = np.random.default_rng(0).normal(size=len(pixels))
    np.testing.assert_allclose(mean.T @ upstream, mean @ (edges * upstream) / edges, rtol=1e-12)
