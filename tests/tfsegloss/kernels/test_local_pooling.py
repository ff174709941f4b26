"""LAD's kernel against its formula on depthwise convolutions."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.examples import CLASSES
from tests.tfsegloss.kernels.agreement import assert_agree, cases, small_blocks, small_example
from tfsegloss.core.targets import encode_targets
from tfsegloss.kernels.local_pooling import pooled_losses
from tfsegloss.losses.lad import locally_adaptive

__all__ = ["small_blocks"]


def kernel_and_formula(size):
    kernel = functools.partial(pooled_losses, kernel_size=size)
    return kernel, functools.partial(locally_adaptive, kernel_size=size)


@cases
def test_equals_the_formula(plan, dtype, dense, small_blocks):
    targets, logits = small_example(dense)
    assert_agree(*kernel_and_formula(3), targets, logits, plan=plan, dtype=dtype)


@pytest.mark.parametrize("size", [1, 5, 7])
@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 7, 4)])
def test_equals_the_formula_for_windows_of_any_size(size, shape):
    targets, logits = small_example(dense=False, shape=shape)
    assert_agree(*kernel_and_formula(size), targets, logits)


def test_targets_that_do_not_sum_to_one():
    targets, logits = small_example(dense=True)
    for factor in (0.2, 1.0):
        shares = tf.minimum(targets.dense * 3 * factor, 1.0)
        assert_agree(*kernel_and_formula(3), targets._replace(dense=shares), logits)


@pytest.mark.parametrize("num_classes", [2, CLASSES, pytest.param(2100, marks=pytest.mark.full)])
def test_one_sure_class_that_is_right_or_wrong(num_classes):
    """Its standardized logit is √(C − 1), and twice that the pooled one: e⁹¹ has no float32."""
    logits = np.zeros([1, 1, 4, num_classes])
    logits[..., 1] = [1, 1e4, 1, 1e-3]
    targets = encode_targets(tf.constant([[[1, 1, 0, 0]]]), num_classes)
    for dtype in (tf.float64, tf.float32):
        assert_agree(*kernel_and_formula(1), targets, logits, dtype=dtype)


def test_logits_far_from_zero_keep_their_digits():
    targets, logits = small_example(dense=False)
    logits = np.where(targets.valid[..., tf.newaxis], np.round(logits * 64) / 64, 0)
    near = pooled_losses(targets, tf.constant(logits, tf.float32), 3)
    far = pooled_losses(targets, tf.constant(logits + 2.0**17, tf.float32), 3)
    np.testing.assert_allclose(far, near, rtol=1e-6)
