"""SSIM's kernel against its formula."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.kernels.agreement import assert_agree, cases, small_blocks, small_example
from tfsegloss.kernels import dissimilarity
from tfsegloss.losses import ssim

__all__ = ["small_blocks"]
forms = pytest.mark.parametrize("form", ssim.FORMS)


def kernel_and_formula(form, window_size=3):
    options = {"form": form, "window_size": window_size, "sigma": 1.5}

    def kernel(targets, x):
        return dissimilarity.cross_entropy_and_dissimilarity(targets, x, **options)

    def formula(targets, x):
        losses, different = ssim.cross_entropy_and_dissimilarity(targets, x, **options)
        return losses, tf.reduce_sum(different, axis=[1, 2])

    return kernel, formula


@cases
def test_equals_the_formula(plan, dtype, dense, small_blocks):
    targets, logits = small_example(dense, multi_label=True)
    assert_agree(*kernel_and_formula("full"), targets, logits, plan=plan, dtype=dtype)


@forms
@pytest.mark.parametrize("window_size", [1, 3, 5])
@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 7, 4)])
def test_equals_the_formula_with_other_options(form, window_size, shape):
    targets, logits = small_example(dense=False, shape=shape)
    assert_agree(*kernel_and_formula(form, window_size), targets, logits)


@forms
@pytest.mark.parametrize("scale", [1e-6, 30.0])
def test_blank_and_sure_logits(form, scale):
    targets, logits = small_example(dense=False)
    logits = np.where(targets.valid[..., tf.newaxis], np.sign(logits) * scale, logits)
    assert_agree(*kernel_and_formula(form), targets, logits)
