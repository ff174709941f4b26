"""The Keras that TensorFlow uses, and all that its versions 2 and 3 have not in common.

Nothing else in the library asks for a version. `keras` is what `tf.keras` is: Keras 3, Keras 2.15
beside TensorFlow 2.15, or tf_keras where the environment variable TF_USE_LEGACY_KERAS asks for it.
"""

import copy
import importlib
import importlib.metadata
import os
import re
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tfsegloss.core import replicas

# As TensorFlow reads it.
USES_TF_KERAS = os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True")
# The oldest pair of the Keras 3 lane, as in setup.cfg.
OLDEST_TENSORFLOW, OLDEST_KERAS = (2, 18), (3, 15)
# The last TensorFlow whose own Keras is 2, and that Keras.
LAST_OF_KERAS_2 = (2, 15)


def _installed_version(package: str) -> str:
    """Return a package's version without importing it: of a wrong pair that may already fail."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # under another name, such as a nightly build's
        try:
            return importlib.import_module(package).__version__
        except ImportError:
            return "none"


def _numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def mismatch(tensorflow: str, keras: str, uses_tf_keras: bool) -> str | None:
    """Return what to install where the library does not run on a pair of versions.

    Args:
        tensorflow: Version of TensorFlow.
        keras: Version of Keras, of tf_keras where that is used; "none" where it is not installed.
        uses_tf_keras: Whether TF_USE_LEGACY_KERAS is set.

    Returns:
        One line; None for a pair that fits.

    Example:

    >>> mismatch("2.21.0", "3.15.1", False) is mismatch("2.15.1", "2.15.0", False) is None
    True
    >>> mismatch("2.21.0", "none", True).split("Do: ")[1]
    'pip install "tf_keras==2.21.*"'
    """
    of_tensorflow, of_keras = _numbers(tensorflow), _numbers(keras)
    if uses_tf_keras:
        if of_tensorflow >= LAST_OF_KERAS_2 and of_keras == of_tensorflow:
            return None
        tf_keras = f"tf_keras=={'.'.join(map(str, of_tensorflow))}.*"
        return (
            "TF_USE_LEGACY_KERAS needs the tf_keras of TensorFlow's version, from 2.15 on. Found: "
            f'TensorFlow {tensorflow}, tf_keras {keras}. Do: pip install "{tf_keras}"'
        )
    if of_tensorflow == of_keras == LAST_OF_KERAS_2:
        return None
    if of_tensorflow >= OLDEST_TENSORFLOW and of_keras >= OLDEST_KERAS:
        return None
    return (
        "tfsegloss needs TensorFlow >= 2.18 with Keras >= 3.15, TensorFlow 2.15 with Keras 2.15, or"
        f" TF_USE_LEGACY_KERAS=1 with tf_keras. Found: TensorFlow {tensorflow}, Keras {keras}. Do: "
        'pip install --upgrade "tensorflow>=2.18" "keras>=3.15"'
    )


KERAS_PACKAGE = "tf_keras" if USES_TF_KERAS else "keras"
KERAS_VERSION = _installed_version(KERAS_PACKAGE)
_mismatch = mismatch(tf.__version__, KERAS_VERSION, USES_TF_KERAS)
if _mismatch is not None:
    raise ImportError(_mismatch)

keras = importlib.import_module(KERAS_PACKAGE)
# TensorFlow reads the variable when `tf.keras` is first used, and keeps to it.
if tf.keras.losses.Loss is not keras.losses.Loss:
    raise ImportError(
        "TF_USE_LEGACY_KERAS was changed after the first use of `tf.keras`, which is not "
        f"{KERAS_PACKAGE} now. Do: set or unset it before TensorFlow is imported"
    )
IS_KERAS_2 = _numbers(KERAS_VERSION) < (3,)

# Of Keras 3's reductions those that Keras 2 has under another name; and its own "auto", which is a
# mean, under the name that both have.
_NAMES_IN_KERAS_2 = {
    None: "none",
    "mean": "sum_over_batch_size",
    "auto": "sum_over_batch_size",
}
# What is a mean, by the names of both.
MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "auto")


class _LossOfKeras2(keras.losses.Loss):
    """What a loss has in Keras 3: a name of its own, a dtype, and tensors of it in `call`."""

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: str = "float32",
    ) -> None:
        if reduction == "mean_with_sample_weight":
            raise ValueError(
                '`reduction` "mean_with_sample_weight" is of Keras 3: Keras 2 reduces a loss by '
                'none, sum or sum_over_batch_size. Received: reduction="mean_with_sample_weight"'
            )
        reduction = _NAMES_IN_KERAS_2.get(reduction, reduction)
        if reduction not in ("sum_over_batch_size", "sum", "none"):
            raise ValueError(
                "`reduction` must be one of sum_over_batch_size, sum, none. "
                f"Received: reduction={reduction}"
            )
        super().__init__(
            reduction=reduction,
            name=_snake_case(type(self).__name__) if name is None else name,
        )
        self.dtype = dtype

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        y_true, y_pred = tf.nest.map_structure(
            lambda value: convert_to_tensor(value, self.dtype), (y_true, y_pred)
        )
        return super().__call__(y_true, y_pred, sample_weight)


def dtype_of_losses() -> str:
    """Return the type of the library's losses: float32, or float64 where Keras is set to it.

    Never half precision, to which Keras would cast labels (id 301 is 300 in bfloat16) and values.
    """
    return "float64" if keras.backend.floatx() == "float64" else "float32"


# The base of the library's losses.
Loss = _LossOfKeras2 if IS_KERAS_2 else keras.losses.Loss


def _snake_case(name: str) -> str:
    """Return a class' name as Keras 3 names its instances: RMILoss is rmi_loss."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def convert_to_tensor(value: tf.Tensor, dtype: str) -> tf.Tensor:
    """Return a value as a tensor of a type, whatever type it has."""
    if not IS_KERAS_2:
        return keras.ops.convert_to_tensor(value, dtype=dtype)
    tensor = tf.cast(tf.convert_to_tensor(value), dtype)
    # The mask of a model's outputs, by which Keras 2 reduces; it has no public name for it.
    if hasattr(value, "_keras_mask"):
        tensor._keras_mask = value._keras_mask
    return tensor


def name_of(loss: keras.losses.Loss) -> str:
    """Return a loss' name; in Keras 2 a loss may have none."""
    return _snake_case(type(loss).__name__) if loss.name is None else loss.name


def dtype_of(loss: keras.losses.Loss) -> str:
    """Return the type in which a loss is computed; in Keras 2 another library's loss has none."""
    return getattr(loss, "dtype", None) or keras.backend.floatx()


def option_of(loss: keras.losses.Loss, name: str) -> Any:
    """Return an option of a loss by its name; what Keras 2 calls the reduction "auto" is a mean."""
    value = getattr(loss, name)
    return "sum_over_batch_size" if name == "reduction" and value == "auto" else value


def reduce_values(values: tf.Tensor, loss: keras.losses.Loss) -> tf.Tensor:
    """Return values `[B]` reduced as a loss reduces them in a training loop of one's own.

    A mean is divided by the number of replicas: in Keras 3 a call does it, in Keras 2 `fit`.
    """
    if loss.reduction in MEANS:
        return replicas.mean_of_images(values) / replicas.replica_count()
    return tf.reduce_sum(values) if loss.reduction == "sum" else values


def reduce_no_values(value: tf.Tensor, loss: keras.losses.Loss) -> tf.Tensor:
    """Return what a call of a loss gave, but 0 for no image, whose values Keras 3 leaves as [0]."""
    is_reduced = loss.reduction not in (None, "none")
    return tf.reduce_sum(value) if is_reduced and value.shape == (0,) else value


def call_part(
    loss: keras.losses.Loss,
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    sample_weight: tf.Tensor | None,
    called: keras.losses.Loss | None = None,
) -> tf.Tensor:
    """Return what a loss adds to a sum.

    Keras 2 refuses means under a strategy, but of the loss that a model is compiled with, and
    divides that by the number of replicas. A part has the leave of the sum that is `called`; where
    none is, the value is for `as_share_of_replica`.
    """
    if not IS_KERAS_2:
        return reduce_no_values(loss(y_true, y_pred, sample_weight), loss)
    y_pred = convert_to_tensor(y_pred, dtype_of(loss))  # as losses of Keras 3 do
    if hasattr(loss, "build"):
        loss.build(y_pred.shape[-1])  # the variables are not the copy's
    part = copy.copy(loss)
    # As `compile` does; Keras 2 has no public name for it. Its `reduction` "none" and a mean would
    # not do: the reduction leaves out what the loss masks, such as ignored pixels.
    part._allow_sum_over_batch_size = called is None or called._allow_sum_over_batch_size
    return part(y_true, y_pred, sample_weight)


def track_parts(sum_of: keras.losses.Loss, parts: Iterable[keras.losses.Loss]) -> None:
    """Let a model's file hold the variables of a sum's losses.

    Keras 2 finds them in lists, Keras 3 where they are.
    """
    if IS_KERAS_2:
        sum_of.parts_with_variables = [*parts]


def as_share_of_replica(value: tf.Tensor, loss: keras.losses.Loss) -> tf.Tensor:
    """Return what `call_part` gave as the replica's share of a mean over replicas."""
    if IS_KERAS_2 and loss.reduction in MEANS:
        return value / replicas.replica_count()
    return value


class _MetricOfKeras2(keras.metrics.Metric):
    """What a metric has in Keras 3: variables of any shape are reset."""

    def reset_state(self) -> None:
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))


# The base of the library's metrics.
Metric = _MetricOfKeras2 if IS_KERAS_2 else keras.metrics.Metric


def add_counts(metric: keras.metrics.Metric, name: str, shape: tuple[int, ...]) -> tf.Variable:
    """Return a new variable of a metric for counts, 0 and summed over replicas.

    An integer: within a layer Keras reads floats in the layer's type, where counts overflow.
    """
    add = metric.add_weight if IS_KERAS_2 else metric.add_variable
    return add(name=name, shape=shape, initializer="zeros", dtype="int64")


def value_of(variable: tf.Variable) -> tf.Tensor:
    """Return what a metric's variable holds."""
    return tf.convert_to_tensor(variable) if IS_KERAS_2 else variable.value
