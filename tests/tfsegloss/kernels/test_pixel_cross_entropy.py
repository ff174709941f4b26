"""The cross-entropies' kernels against their formulas."""

import pytest
import tensorflow as tf

from tests.tfsegloss.kernels.against_formula import KINDS, assert_equal, example
from tfsegloss.kernels import pixel_cross_entropy, xla
from tfsegloss.losses import cross_entropy

FORMULAS = {
    "softmax": (pixel_cross_entropy.softmax_losses, cross_entropy.softmax_cross_entropy),
    "sigmoid": (pixel_cross_entropy.sigmoid_losses, cross_entropy.sigmoid_cross_entropy),
}
# On both sides of what is taken apart class by class.
MANY = pixel_cross_entropy.FEW_CLASSES + 1


def functions(name, smoothing, num_classes):
    kernel, formula = FORMULAS[name]
    floor = smoothing / (num_classes if name == "softmax" else 2)
    return (
        lambda targets, x: kernel(x, targets, 1 - smoothing, floor),
        lambda targets, x: formula(targets, x, label_smoothing=smoothing),
    )


@pytest.mark.parametrize("hostile", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("num_classes", [2, 5, MANY])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMULAS)
def test_equals_the_formula(name, kind, num_classes, smoothing, hostile):
    assert_equal(*functions(name, smoothing, num_classes), *example(kind, num_classes, hostile))


def test_equals_the_formula_for_one_class():
    assert_equal(*functions("sigmoid", 0.1, 1), *example("ids", 1))


@pytest.mark.parametrize("device", ["CPU", "GPU"])
@pytest.mark.parametrize("num_classes", [5, MANY])
@pytest.mark.parametrize("name", FORMULAS)
def test_equals_the_formula_as_it_is_compiled_for_each_device(name, num_classes, device):
    with xla.planned_for(device):
        case = example("ids", num_classes, hostile=True)
        assert_equal(*functions(name, 0.0, num_classes), *case, compiled=True)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_graph_does_not_grow_with_the_classes(name):
    def count(num_classes):
        targets, x, _ = example("ids", num_classes)
        step = tf.function(lambda x: FORMULAS[name][0](x, targets))
        return len(step.get_concrete_function(tf.constant(x)).graph.get_operations())

    assert count(200) == count(100)
