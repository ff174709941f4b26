"""What is wrong with a file: an exception in eager mode, an assertion in a graph."""

from collections.abc import Callable

import tensorflow as tf


class DataError(Exception):
    """What is wrong with a file, without its name."""


def require(
    condition: tf.Tensor | bool, message: str, values: Callable[[], list[tf.Tensor]] = list
) -> list[tf.Operation]:
    """Raise a DataError eagerly, or assert in a graph, unless a condition holds.

    Args:
        condition: bool `[]`.
        message: What is wrong, with places `{}` for values.
        values: Computes them; called only where the condition does not hold.

    Returns:
        What the rest of a graph must depend on; nothing in eager mode.

    Raises:
        DataError: In eager mode, the message.
    """
    if not tf.executing_eagerly():
        # Nobody sees this message: to name the fault, the sample is read again, eagerly.
        return [tf.debugging.Assert(condition, [message])]
    if not condition:
        raise DataError(message.format(*(", ".join(map(str, _plain(v))) for v in values())))
    return []


def _plain(value: tf.Tensor) -> list:
    return tf.reshape(value, [-1]).numpy().tolist()
