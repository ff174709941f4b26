"""The faults: what a careless change might do to a line."""

from typing import NamedTuple


class Fault(NamedTuple):
    """A text that a file holds once, and what takes its place."""

    path: str
    name: str
    old: str
    new: str


CORE = (
    Fault(
        "tfsegloss/core/replicas.py",
        "a count of this replica's alone",
        "return context.all_reduce(tf.distribute.ReduceOp.SUM, value)",
        "return value",
    ),
    Fault(
        "tfsegloss/core/replicas.py",
        "the number of replicas forgotten",
        "tf.shape(numerators)[0] * replica_count()",
        "tf.shape(numerators)[0]",
    ),
    Fault(
        "tfsegloss/core/replicas.py",
        "weights of pixels not used",
        "losses *= pixel_weights",
        "losses *= tf.ones_like(pixel_weights)",
    ),
    Fault(
        "tfsegloss/core/replicas.py",
        "what is added to the count not shared by the replicas",
        "additional / replica_count()",
        "additional",
    ),
    Fault(
        "tfsegloss/core/predictions.py",
        "sizes not compared in graphs",
        "with tf.control_dependencies([same] if same is not None else []):",
        "with tf.control_dependencies([]):",
    ),
    Fault(
        "tfsegloss/core/checks.py",
        "a range without its upper end",
        "lambda number: low <= number <= high",
        "lambda number: low <= number",
    ),
)

LOSSES = (
    Fault(
        "tfsegloss/losses/base.py",
        "ids out of range pass under XLA",
        "tf.where(targets.in_range, value, nan)",
        "value",
    ),
    Fault(
        "tfsegloss/losses/base.py",
        "float64 computed in float32",
        "dtype = y_pred.dtype if y_pred.dtype == tf.float64 else tf.float32",
        "dtype = tf.float32",
    ),
    Fault(
        "tfsegloss/losses/base.py",
        "probabilities not clipped",
        "p = tf.clip_by_value(p, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)",
        "p = tf.identity(p)",
    ),
    Fault(
        "tfsegloss/losses/base.py",
        "weights of pixels counted by Keras too",
        "return super().__call__((y_true, sample_weight), y_pred)",
        "return super().__call__((y_true, sample_weight), y_pred, sample_weight[:, 0, 0])",
    ),
    Fault(
        "tfsegloss/losses/base.py",
        "one class accepted by a softmax",
        'if self.activation == "softmax" and y_pred.shape[-1] == 1:',
        "if False:",
    ),
    Fault(
        "tfsegloss/losses/base.py",
        "empty dense targets count for a softmax",
        'empty_is_ignored=self.activation == "softmax"',
        "empty_is_ignored=False",
    ),
    Fault(
        "tfsegloss/losses/weighted.py",
        "parts are weighted",
        "parts[name] = _part(value, loss.reduction)",
        "parts[name] = weight * _part(value, loss.reduction)",
    ),
    Fault(
        "tfsegloss/losses/weighted.py",
        "the sum forgets a given activation",
        "return WeightedLosses(losses, activation=self._activation)",
        "return WeightedLosses(losses)",
    ),
    Fault(
        "tfsegloss/losses/weighted.py",
        "what any loss ignores is ignored",
        "set.intersection(*sets)",
        "set.union(*sets)",
    ),
    Fault(
        "tfsegloss/losses/weighted.py",
        "replicas forgotten in the parts",
        "return value * replicas.replica_count() if reduction in MEANS else value",
        "return value",
    ),
    Fault(
        "tfsegloss/losses/stateful.py",
        "the state is not stored",
        "store[str(i)] = variable.numpy()",
        "store[str(i)] = 0 * variable.numpy()",
    ),
    Fault(
        "tfsegloss/losses/stateful.py",
        "the state moves in the forward pass",
        "        def gradient(upstream):\n            action()\n",
        "        action()\n\n        def gradient(upstream):\n",
    ),
)

METRICS = (
    Fault(
        "tfsegloss/metrics/confusion.py",
        "rows and columns swapped",
        "ids * side + found.ids",
        "found.ids * side + ids",
    ),
    Fault(
        "tfsegloss/metrics/confusion.py",
        "absent classes count as 0",
        "tf.math.count_nonzero(present)",
        "tf.size(present)",
    ),
    Fault(
        "tfsegloss/metrics/confusion.py",
        "the intersection counted twice in the union",
        "tf.reduce_sum(matrix, axis=1) - hits",
        "tf.reduce_sum(matrix, axis=1)",
    ),
    Fault(
        "tfsegloss/metrics/class_weights.py",
        "pixels of all images in the frequency",
        "np.where(pixels > 0, image_pixels, 0)",
        "np.where(pixels >= 0, image_pixels, 0)",
    ),
    Fault(
        "tfsegloss/metrics/class_weights.py",
        "the median over absent classes too",
        "np.median(frequencies[occurs])",
        "np.median(frequencies)",
    ),
)

FAULTS = (*CORE, *LOSSES, *METRICS)
