"""The focal losses' kernels against their formulas."""

import pytest

from tests.tfsegloss.kernels.against_formula import KINDS, assert_equal, example
from tfsegloss.kernels import focal as kernels
from tfsegloss.losses import focal

FORMULAS = {
    "softmax": (kernels.softmax_focal_losses, focal.softmax_focal),
    "sigmoid": (kernels.sigmoid_focal_losses, focal.sigmoid_focal),
}


def functions(name, gamma):
    kernel, formula = FORMULAS[name]
    return (
        lambda targets, x: kernel(x, targets, 0.3, gamma),
        lambda targets, x: formula(targets, x, alpha=0.3, gamma=gamma),
    )


@pytest.mark.parametrize("hostile", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMULAS)
def test_equals_the_formula(name, kind, gamma, hostile):
    assert_equal(*functions(name, gamma), *example(kind, 5, hostile))


def test_equals_the_formula_for_one_class():
    assert_equal(*functions("sigmoid", 2.0), *example("ids", 1))


@pytest.mark.parametrize("name", FORMULAS)
def test_equals_the_formula_as_it_is_compiled(name):
    assert_equal(*functions(name, 2.0), *example("ids", 5, hostile=True), compiled=True)
