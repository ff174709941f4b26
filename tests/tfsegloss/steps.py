"""The step of a loss that training takes: its value and its gradient by the logits."""

import tensorflow as tf

from tests.tfsegloss.examples import CLASSES

# Ids and logits of a graph for any image: without clusters, which are compiled for one shape.
DYNAMIC = [tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([None] * 3 + [CLASSES], tf.float32)]


def step_of(loss):
    """Return reduced loss and gradient by the logits, from ids and logits; for `tf.function`."""

    def step(ids, logits, sample_weight=None):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(ids, logits, sample_weight)
        return value, tape.gradient(value, logits)

    return step


def value_and_gradient(loss, ids, logits, sample_weight=None):
    """`step_of` the loss, eagerly and as arrays."""
    value, gradient = step_of(loss)(ids, tf.convert_to_tensor(logits), sample_weight)
    return value.numpy(), gradient.numpy()


def reusable_step(loss, **how):
    """`step_of` the loss as a `tf.function`, whose every call starts from the same state.

    Args:
        loss: A backward pass may move its variables.
        how: Options of `tf.function`.
    """
    loss.build(CLASSES)
    initial = [variable.numpy() for variable in loss.variables]
    step = tf.function(step_of(loss), **how)

    def call(ids, logits):
        for variable, value in zip(loss.variables, initial, strict=True):
            variable.assign(value)
        return tuple(tensor.numpy() for tensor in step(tf.constant(ids), tf.constant(logits)))

    return call
