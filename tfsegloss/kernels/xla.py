"""A loss as its own XLA cluster inside a graph that XLA does not compile.

Keras compiles nothing on a machine without GPU nor under `tf.distribute`. Most of a loss is
element-wise work at full resolution, where XLA needs one pass for what takes TensorFlow ten.
"""

import threading
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compiled(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)`, as one XLA cluster where that pays; no gradient flows through it.

    It pays in a graph whose images have a static size: a cluster is compiled once per shape, and an
    evaluation on images of many sizes would compile for ever.

    Args:
        function: Of tensors alone; a structure of tensors.
        arguments: Tensors `[B, …]`, or structures of them.

    Returns:
        What the function returns.

    Example:

    >>> compiled(tf.square, tf.constant([3.0])).numpy().tolist()
    [9.0]
    """
    arguments = _constant(arguments)
    # Constant on both sides: a tape outside of the graph would look for a gradient in between.
    return _constant((_jit(function) if is_worth_compiling(arguments) else function)(*arguments))


def compiled_with_gradient(
    function: Callable[..., Any], variable: tf.Tensor, *constants: Any
) -> Any:
    """`function(variable, *constants)` as `compiled` does it, with a gradient by the variable.

    The backward pass is a second cluster that computes the function again: between the two nothing
    of full resolution is kept, and XLA drops from each what it does not need.

    Args:
        function: Of tensors alone; a tensor or a tuple of them.
        variable: `[B, H, W, C]`, what the gradient is taken by.
        constants: Further arguments, tensors or structures of them.

    Returns:
        What the function returns.

    Example:

    >>> x = tf.constant([3.0])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = compiled_with_gradient(tf.multiply, x, tf.constant([5.0]))
    >>> tape.gradient(y, x).numpy().tolist()
    [5.0]
    """
    constants = _constant(constants)
    if not is_worth_compiling([variable, *constants]):
        return function(variable, *constants)

    def backward(upstream, variable, *constants):
        with tf.GradientTape() as tape:
            tape.watch(variable)
            values = function(variable, *constants)
        return tape.gradient(values, variable, tf.nest.pack_sequence_as(values, upstream))

    @tf.custom_gradient
    def call(variable):
        values = _jit(function)(variable, *constants)
        return values, lambda *upstream: _jit(backward)(upstream, variable, *constants)

    return call(variable)


def _constant(arguments: Any) -> Any:
    return tf.nest.map_structure(lambda t: None if t is None else tf.stop_gradient(t), arguments)


def is_worth_compiling(arguments: Any) -> bool:
    """Whether all tensors are in a graph, of static size but for the batch."""
    tensors = [t for t in tf.nest.flatten(arguments) if t is not None]
    return not tf.executing_eagerly() and all(t.shape[1:].is_fully_defined() for t in tensors)


def is_compiling() -> bool:
    """Whether a function of `compiled` or `compiled_with_gradient` is being traced for XLA."""
    return getattr(_trace, "compiling", False)


_trace = threading.local()


def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    def traced(*arguments):
        outer, _trace.compiling = is_compiling(), True
        try:
            return function(*arguments)
        finally:
            _trace.compiling = outer

    return tf.function(traced, jit_compile=True, autograph=False)
