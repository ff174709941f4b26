"""Blocks of rows give what the whole image gives, gradient included."""

import numpy as np
import pytest
import tensorflow as tf

from tfsegloss import labels
from tfsegloss.rows import map_rows

# One block, two that divide the height, and heights that no number of rows divides.
HEIGHTS = [1, 2, 3, 33, 114, 131]


def neighbours(margin, reflect):
    """Weighted differences to the pixels up to `margin` rows away."""

    def function(x, targets):
        x = labels.zero_ignored(x, targets.valid)
        rows = tf.shape(x)[0] - 2 * margin
        near = [x[i : i + rows] * (i + 1) for i in range(2 * margin + 1)]
        return [tf.reduce_sum(tf.square(tf.add_n(near)), -1), near[margin][..., 0]]

    def whole(x):
        mode = {"reflect": np.pad(np.arange(x.shape[1]), margin, mode="reflect")}
        if reflect:
            x = tf.gather(x, mode["reflect"], axis=1)
        else:
            x = tf.pad(x, [[0, 0], [margin, margin], [0, 0], [0, 0]])
        rows = x.shape[1] - 2 * margin
        near = [x[:, i : i + rows] * (i + 1) for i in range(2 * margin + 1)]
        return [tf.reduce_sum(tf.square(tf.add_n(near)), -1), near[margin][..., 0]]

    return function, whole


def gradient(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        first, second = function(x)
        total = tf.reduce_sum(first * tf.range(1.0, x.shape[1] + 1)[:, None]) + tf.reduce_sum(
            second
        )
    return first, tape.gradient(total, x)


@pytest.mark.parametrize("height", HEIGHTS)
@pytest.mark.parametrize("margin", [0, 1, 2])
@pytest.mark.parametrize("reflect", [True, False])
def test_blocks_equal_the_whole(height, margin, reflect):
    x = tf.random.stateless_normal([2, height, 5, 3], [1, 2])
    targets = labels.encode(tf.zeros([2, height, 5]), classes=3)
    function, whole = neighbours(margin, reflect)

    def blocks(x):
        return map_rows(function, x, targets, margin=margin, reflect=reflect)

    value, slope = gradient(whole, x)
    for call in (blocks, tf.function(blocks)):
        actual, actual_slope = gradient(call, x)
        np.testing.assert_allclose(actual, value, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(actual_slope, slope, rtol=1e-4, atol=1e-2)
