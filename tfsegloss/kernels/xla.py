"""A loss as its own XLA cluster inside a graph that XLA does not compile, planned for its device.

Keras compiles nothing on a machine without GPU nor under `tf.distribute`. Most of a loss is
element-wise work at full resolution, where XLA needs one pass for what takes TensorFlow ten.

A CPU works fastest on blocks that stay in its cache; on a GPU each block is a row of small kernels,
one after the other, and the whole batch at once is faster. `at_once` decides between the two.
"""

import contextlib
import functools
import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tfsegloss.core.shapes import at_least, at_most
from tfsegloss.kernels.second_derivatives import with_derivatives_of, with_formula

# What one step of a loop may hold on a GPU beside the batch: little for the cards of today.
GPU_BYTES = 2**31 - 1  # 2 GiB, and still an int32


def compiled(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return `function(*arguments)`, from one XLA cluster where that pays; without gradient.

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
    function: Callable[..., Any],
    variable: tf.Tensor,
    *constants: Any,
    formula: Callable[..., Any] | None = None,
) -> Any:
    """Return `function(variable, *constants)` as `compiled` does, with a gradient by the variable.

    The backward pass is a second cluster that computes the function again: between the two nothing
    of full resolution is kept, and XLA drops from each what it does not need.

    Args:
        function: Of tensors alone; a tensor or a tuple of them.
        variable: `[B, H, W, C]`, what the gradient is taken by.
        constants: Further arguments, tensors or structures of them.
        formula: The same function for the second and further derivatives, where the gradient of
            `function` is written by hand from what it takes for constant; None: itself.

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
        if formula is None:
            return function(variable, *constants)
        return with_formula(lambda x: function(x, *constants), lambda x: formula(x, *constants))(
            variable
        )

    formula = formula or function

    def backward(upstream, variable, *constants):
        with tf.GradientTape() as tape:
            tape.watch(variable)
            values = function(variable, *constants)
        return tape.gradient(values, variable, tf.nest.pack_sequence_as(values, upstream))

    # Of constants: under a tape TensorFlow would keep all that is computed, and differentiated
    # twice, XLA compiled some clusters to a wrong second derivative.
    gradient = with_derivatives_of(
        lambda x: formula(x, *constants),
        lambda x, *upstream: _jit(backward)(_constant(upstream), _constant(x), *constants),
    )

    @tf.custom_gradient
    def call(x):
        values = _jit(function)(_constant(x), *constants)

        def times_gradient(*upstream):
            # None where nothing depends on a value, under a tape around a `tf.function`.
            pairs = zip(upstream, tf.nest.flatten(values), strict=True)
            return gradient(x, *(tf.zeros_like(v) if u is None else u for u, v in pairs))

        return values, times_gradient

    return call(variable)


def _constant(arguments: Any) -> Any:
    return tf.nest.map_structure(lambda t: None if t is None else tf.stop_gradient(t), arguments)


def is_worth_compiling(arguments: Any) -> bool:
    """Return whether all tensors are in a graph, of static size but for the batch."""
    tensors = [t for t in tf.nest.flatten(arguments) if t is not None]
    return not tf.executing_eagerly() and all(t.shape[1:].is_fully_defined() for t in tensors)


def is_compiling() -> bool:
    """Return whether a cluster is being traced."""
    return getattr(_trace, "compiling", False)


def planned_device() -> str:
    """Return the kind of device that a loss is planned for where it is traced: "CPU" or "GPU".

    That of `planned_for`; else the one it is placed on by `tf.device` or a strategy; else "GPU"
    wherever TensorFlow sees one.

    Example:

    >>> with planned_for("GPU"):
    ...     planned_device()
    'GPU'
    """
    planned = getattr(_trace, "device", None) or _override
    if planned is not None:
        return planned
    # An operation knows where it is placed; nothing else in the public API does.
    kind = tf.DeviceSpec.from_string(tf.zeros([]).device).device_type
    if kind is None:
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return "CPU" if kind == "CPU" else "GPU"


@contextlib.contextmanager
def planned_for(device: str) -> Iterator[None]:
    """Plan what is traced inside for a kind of device, wherever it is placed, in all threads.

    Any plan runs on any device, and gives the same numbers; only the time differs.

    Args:
        device: "CPU" or "GPU".

    Raises:
        ValueError: `device` is not as above.

    Example:

    >>> with planned_for("GPU"):
    ...     at_once(1000, on_cpu=64, bytes_each=[1024, 4])
    1000
    """
    if device not in ("CPU", "GPU"):
        raise ValueError(f'`device` must be "CPU" or "GPU". Received: device={device!r}')
    global _override  # not of a thread: `MirroredStrategy` traces each replica in one of its own
    outer, _override = _override, device
    try:
        yield
    finally:
        _override = outer


def at_once(
    count: int | tf.Tensor, *, on_cpu: int | tf.Tensor, bytes_each: Sequence[int | tf.Tensor]
) -> int | tf.Tensor:
    """Return how many of `count` pieces (rows, maps, pixels) one step of a loop should take.

    Args:
        count: ≥ 0.
        on_cpu: As many as stay in the cache of a CPU, found by measuring; ≥ 1.
        bytes_each: What a step holds for each piece, as factors: an int32 may not hold the product.

    Returns:
        At most `count`: on a CPU `on_cpu`; on a GPU as many as `GPU_BYTES` hold, at least 1.

    Example:

    >>> with planned_for("CPU"):
    ...     at_once(1000, on_cpu=64, bytes_each=[1024, 4])
    64
    """
    if planned_device() == "CPU":
        return at_most(count, on_cpu)
    total = functools.reduce(
        operator.mul, (f if isinstance(f, int) else tf.cast(f, tf.int64) for f in bytes_each)
    )
    fitting = at_least(GPU_BYTES // at_least(total, 1), 1)
    return at_most(count, fitting if isinstance(fitting, int) else tf.cast(fitting, tf.int32))


_override: str | None = None
_trace = threading.local()


def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    device = planned_device()  # inside, where the cluster is placed is not known

    def traced(*arguments):
        outer = is_compiling(), getattr(_trace, "device", None)
        _trace.compiling, _trace.device = True, device
        try:
            return function(*arguments)
        finally:
            _trace.compiling, _trace.device = outer

    return tf.function(traced, jit_compile=True, autograph=False)
