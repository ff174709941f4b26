"""Blocks of rows give what the whole image gives."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.grid import grid
from tfsegloss.core.targets import encode_targets, zero_ignored
from tfsegloss.kernels import row_blocks, xla
from tfsegloss.kernels.row_blocks import map_row_blocks

IMAGES = 3
BYTES_OF_A_ROW = 5 * 3 * 4


def weighted_sum(near):
    """Return a map that tells the rows apart, of rows that are neighbors."""
    total = tf.add_n([(i + 1) * rows for i, rows in enumerate(near)])
    return tf.reduce_sum(tf.square(total), axis=-1)


def of_block(margin):
    """Return a function of a block of rows that sees `margin` rows on both sides."""

    def function(x, targets):
        x = zero_ignored(x, targets.valid)
        rows = tf.shape(x)[1] - 2 * margin
        return weighted_sum([x[:, i : i + rows] for i in range(2 * margin + 1)])

    return function


def of_whole(x, margin, reflect):
    """Return the same of all rows at once, from NumPy's padding."""
    margins = [[0, 0], [margin, margin], [0, 0], [0, 0]]
    x = np.pad(x, margins, mode="reflect" if reflect else "constant")
    rows = x.shape[1] - 2 * margin
    return weighted_sum([x[:, i : i + rows] for i in range(2 * margin + 1)])


def assert_blocks_equal_the_whole(height, margin, reflect, run_as=lambda function: function, **how):
    x = tf.random.stateless_normal([IMAGES, height, 5, 3], [1, 2])
    targets = encode_targets(tf.zeros([IMAGES, height, 5]), num_classes=3)

    def blocks(x):
        return map_row_blocks(of_block(margin), x, targets, margin=margin, reflect=reflect, **how)

    expected = of_whole(x.numpy(), margin, reflect)
    np.testing.assert_allclose(run_as(blocks)(x), expected, rtol=1e-5, atol=1e-5)


every_margin = pytest.mark.parametrize("margin", [0, 1, 2])
both_borders = pytest.mark.parametrize("reflect", [True, False], ids=["mirrored", "not valid"])


@pytest.mark.parametrize("height", [1, 2, 3, 20])
@every_margin
@both_borders
def test_rows_equal_the_whole(height, margin, reflect):
    assert_blocks_equal_the_whole(height, margin, reflect)


# One block, two, and three of 7 rows.
@grid(
    lambda height, write_later: height == 19 or write_later,
    height=[1, 3, 16, 19],
    write_later=[True, False],
)
@both_borders
def test_blocks_for_a_cpu_equal_the_whole(monkeypatch, height, reflect, write_later):
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1)
    with xla.planned_for("CPU"):
        assert_blocks_equal_the_whole(height, 2, reflect, tf.function, write_later=write_later)


# Blocks of a part of an image, of one, of two, and of all.
@grid(lambda height, rows: height == 19, height=[1, 19], rows=[4, 19, 40, 1000])
@both_borders
def test_blocks_for_a_gpu_equal_the_whole(monkeypatch, height, reflect, rows):
    monkeypatch.setattr(xla, "GPU_BYTES", rows * row_blocks.GPU_MAPS * BYTES_OF_A_ROW)
    with xla.planned_for("GPU"):
        assert_blocks_equal_the_whole(height, 2, reflect, tf.function)


@pytest.mark.parametrize("rows", [4, 40])  # part of an image, and two
def test_blocks_for_a_gpu_of_any_size(monkeypatch, rows):
    monkeypatch.setattr(xla, "GPU_BYTES", rows * row_blocks.GPU_MAPS * BYTES_OF_A_ROW)
    x = tf.random.stateless_normal([IMAGES, 19, 5, 3], [1, 2])
    signature = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None] * 3, tf.int32)]

    @tf.function(input_signature=signature)
    def blocks(x, ids):
        targets = encode_targets(ids, num_classes=3)
        return map_row_blocks(of_block(1), x, targets, margin=1, reflect=True)

    with xla.planned_for("GPU"):
        actual = blocks(x, tf.zeros([IMAGES, 19, 5], tf.int32))
    np.testing.assert_allclose(actual, of_whole(x.numpy(), 1, True), rtol=1e-5)


@pytest.mark.parametrize("device", ["CPU", "GPU"])
def test_a_batch_of_any_size(device):
    """As Keras traces it: sizes of images are known, their number is not."""
    targets = encode_targets(tf.zeros([IMAGES, 19, 5]), num_classes=3)

    @tf.function(input_signature=[tf.TensorSpec([None, 19, 5, 3])])
    def blocks(x):
        some = targets._replace(ids=targets.ids[: len(x)], valid=targets.valid[: len(x)])
        some = some._replace(
            ids=tf.ensure_shape(some.ids, [None, 19, 5]),
            valid=tf.ensure_shape(some.valid, [None, 19, 5]),
        )
        return map_row_blocks(of_block(1), x, some, margin=1, reflect=True)

    with xla.planned_for(device):
        for images in (3, 1):
            x = tf.random.stateless_normal([images, 19, 5, 3], [1, 2])
            np.testing.assert_allclose(blocks(x), of_whole(x.numpy(), 1, True), rtol=1e-5)


@pytest.mark.parametrize(("height", "rows"), [(513, 57), (512, 64), (257, 52), (60, 60), (61, 61)])
def test_rows_of_a_block_fill_the_height(height, rows):
    assert row_blocks.even_rows(height, 60) == rows
