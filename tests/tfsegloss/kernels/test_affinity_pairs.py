"""The kernel of affinity fields against its formula."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfsegloss.kernels.agreement import assert_agree, cases, small_example
from tfsegloss.core.targets import one_hot, zero_ignored
from tfsegloss.kernels import xla
from tfsegloss.kernels.affinity_pairs import pair_sums
from tfsegloss.losses.affinity_field import pair_sums as formula


def with_targets(sums, distance=1, margin=3.0):
    """Return a function of targets and logits from sums over the pairs of maps of full size."""

    def function(targets, x):
        truth = one_hot(targets, x.shape[-1], x.dtype)

        def of_logits(x, truth, valid):
            x = zero_ignored(x, valid)
            return sums(x, truth, valid, distance=distance, margin=margin)

        return xla.compiled_with_gradient(of_logits, x, truth, targets.valid)

    return function


@cases
def test_equals_the_formula(plan, dtype, dense):
    targets, logits = small_example(dense)
    assert_agree(*map(with_targets, (pair_sums, formula)), targets, logits, plan=plan, dtype=dtype)


@pytest.mark.parametrize("distance", [1, 2, 9])
@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 7, 4)])
def test_equals_the_formula_with_other_options(distance, margin, shape):
    targets, logits = small_example(dense=False, shape=shape)
    functions = (with_targets(sums, distance, margin) for sums in (pair_sums, formula))
    assert_agree(*functions, targets, logits)


def test_sure_logits_have_no_gradient_where_they_are_clipped():
    targets, logits = small_example(dense=False)
    logits = np.where(targets.valid[..., tf.newaxis], np.sign(logits) * 1e4, logits)
    logits[0, 0, :3] = 0
    assert_agree(*map(with_targets, (pair_sums, formula)), targets, logits)
