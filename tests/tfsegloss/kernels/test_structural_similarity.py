"""SSL's kernel against its formula."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.kernels.agreement import assert_agree, cases, small_blocks, small_example
from tfsegloss.kernels.structural_similarity import weighted_cross_entropies
from tfsegloss.losses.ssl_loss import largest_difference, structural_similarity

__all__ = ["small_blocks"]
OPTIONS = {"window_size": 3, "sigma": 1.5, "stability": 0.01}


def kernel_and_formula(beta=0.1, reweight=True, mine=True, **changed):
    options = OPTIONS | changed
    threshold = beta * largest_difference(**options) if mine else None

    def kernel(targets, x):
        return weighted_cross_entropies(
            targets, x, threshold=threshold, reweight=reweight, **options
        )

    def formula(targets, x):
        how = {"beta": beta, "reweight": reweight, "mine": mine}
        return structural_similarity(targets, x, **how, **options)

    return kernel, formula


@cases
def test_equals_the_formula(plan, dtype, dense, small_blocks):
    targets, logits = small_example(dense, multi_label=True)
    assert_agree(*kernel_and_formula(), targets, logits, plan=plan, dtype=dtype)


@pytest.mark.parametrize(
    "options",
    [{"window_size": 1}, {"window_size": 5}, {"reweight": False}, {"mine": False}, {"beta": 0.4}],
    ids=str,
)
@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 7, 4)])
def test_equals_the_formula_with_other_options(options, shape):
    targets, logits = small_example(dense=False, shape=shape)
    assert_agree(*kernel_and_formula(**options), targets, logits)


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_blank_and_sure_logits(scale):
    targets, logits = small_example(dense=False)
    logits = np.where(targets.valid[..., tf.newaxis], np.sign(logits) * scale, logits)
    assert_agree(*kernel_and_formula(), targets, logits)
