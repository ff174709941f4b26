"""Second and further derivatives of kernels: those of the formulas they compute.

A kernel has a gradient written by hand, whose own derivative TensorFlow would take as if what the
kernel kept were constant: a wrong number in gradient penalties and second-order optimizers.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def with_formula(
    kernel: Callable[[tf.Tensor], Any], formula: Callable[[tf.Tensor], Any]
) -> Callable[[tf.Tensor], Any]:
    """Return the kernel, with the formula's derivatives from the second on.

    The formula is traced only where a second derivative is taken.

    Args:
        kernel: Of a tensor; tensors, or one, with a gradient.
        formula: The same in operations that are differentiable at will.

    Returns:
        A function of the same tensor.

    Example:

    >>> square = with_formula(lambda x: x * tf.stop_gradient(x) * 2 - tf.stop_gradient(x) ** 2,
    ...                       lambda x: x**2)
    >>> x = tf.constant(3.0)
    >>> with tf.GradientTape() as outer:
    ...     outer.watch(x)
    ...     with tf.GradientTape() as tape:
    ...         tape.watch(x)
    ...         y = square(x)
    ...     by_x = tape.gradient(y, x)
    >>> float(y), float(by_x), float(outer.gradient(by_x, x))
    (9.0, 6.0, 2.0)
    """

    @tf.custom_gradient
    def call(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            values = kernel(x)
        first = with_derivatives_of(
            formula, lambda _, *upstream: _gradient(tape, values, x, upstream)
        )
        return values, lambda *upstream: first(x, *upstream)

    return call


def with_derivatives_of(
    formula: Callable[[tf.Tensor], Any], gradient: Callable[..., tf.Tensor]
) -> Callable[..., tf.Tensor]:
    """Return a gradient whose own derivatives are those of the formula's gradient.

    Args:
        formula: Of a tensor; tensors, or one.
        gradient: Of the tensor and of what comes from above for each of the formula's values; Σ
            upstream · ∂value by the tensor.

    Returns:
        A function of the same tensors.
    """

    @tf.custom_gradient
    def call(x, *upstream):
        def backward(by_gradient):
            with tf.GradientTape() as outer:
                outer.watch([x, *upstream])
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    values = formula(x)
                by_x = _gradient(tape, values, x, upstream)
            return outer.gradient(by_x, [x, *upstream], by_gradient)

        return gradient(x, *upstream), backward

    return call


def _gradient(tape: tf.GradientTape, values: Any, x: tf.Tensor, upstream: tuple) -> tf.Tensor:
    """Return Σ upstream · ∂values by x; counts among the values have none."""
    pairs = zip(tf.nest.flatten(values), upstream, strict=True)
    values, upstream = zip(*(pair for pair in pairs if pair[0].dtype.is_floating), strict=True)
    return tape.gradient(values, x, upstream, unconnected_gradients="zero")
