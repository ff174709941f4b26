"""What comes beside the labels: the shapes and errors of predictions and of weights of pixels."""

import warnings

import tensorflow as tf

from tfsegloss.core.targets import check_values, zero_ignored

# bfloat16 has eight bits: what is interpolated between its probabilities may be 1.004.
ROUNDING = 0.01


def check_prediction(y_true: tf.Tensor, y_pred: tf.Tensor) -> None:
    """Refuse a `y_pred` that is not (batch, height, width, classes)."""
    shape = y_pred.shape
    if shape.rank != 4 or shape[-1] is None:
        hint = " Volumes (3-D) are not supported." if shape.rank == 5 else ""
        raise ValueError(
            "`y_pred` must be (batch, height, width, classes) with a known number of classes."
            f"{hint} Received: y_pred.shape={shape}"
        )
    size = y_true.shape[1:3]
    if size.is_fully_defined() and shape[2:4] == size and shape[1:3] != size:
        raise ValueError(
            "`y_pred` must be channels_last (batch, height, width, classes); it looks like "
            f"channels_first. Received: y_pred.shape={shape}, y_true.shape={y_true.shape}"
        )


def checked_size(y_pred: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Return `y_pred`; raise an error that names both sizes where they differ from the labels'."""
    rule = (
        "`y_true` and `y_pred` must have the same batch, height and width; resize the logits to "
        "the labels' size, for instance with keras.layers.UpSampling2D(interpolation='bilinear')."
    )
    size = y_pred.shape[:3]
    if not valid.shape.is_compatible_with(size):
        raise ValueError(f"{rule} Received: y_true {valid.shape}, y_pred {y_pred.shape}")
    if valid.shape.is_fully_defined() and size.is_fully_defined():
        return y_pred
    same = tf.debugging.assert_equal(tf.shape(valid), tf.shape(y_pred)[:3], message=rule)
    with tf.control_dependencies([same] if same is not None else []):
        return tf.identity(y_pred)


def check_probabilities(p: tf.Tensor) -> tf.Tensor:
    """Return whether all of `y_pred` is in [0, 1], but for rounding, after saying what is not.

    Logits would be clipped, where no gradient flows, to a value that looks ordinary. Two numbers
    tell, of one pass each. NaN is none of them: it reaches the value.
    """
    lowest, highest = tf.reduce_min(p), tf.reduce_max(p)
    wrong = tf.stack([lowest < -ROUNDING, highest > 1 + ROUNDING])
    rule = (
        "`y_pred` must be probabilities in [0, 1] where from_logits=False; for logits, leave that "
        "out. Received values:"
    )
    return check_values(wrong, tf.stack([lowest, highest]), rule)


def weights_of_pixels(
    weights: tf.Tensor, valid: tf.Tensor, dtype: tf.DType
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return `sample_weight` of pixels as `[B, H, W]`, and whether it is ≥ 0 wherever it counts.

    It is 0 where ignored, whatever it holds there.
    """
    if weights.shape.rank == 4 and weights.shape[-1] == 1:
        weights = tf.squeeze(weights, axis=-1)
    if weights.shape.rank != 3 or not weights.shape.is_compatible_with(valid.shape):
        raise ValueError(
            "`sample_weight` of pixels must be (batch, height, width) or (batch, height, width, 1) "
            f"as the labels {valid.shape}. Received: sample_weight.shape={weights.shape}"
        )
    weights = zero_ignored(tf.cast(weights, dtype), valid)
    rule = "`sample_weight` must be ≥ 0. Received a weight of"
    return weights, check_values(~(weights >= 0), weights, rule)


def warn_of_probabilities(y_pred: tf.Tensor, loss: str) -> None:
    """Warn, once, where a graph shows that `y_pred` comes straight out of an activation."""
    if not hasattr(y_pred, "graph") or tf.executing_eagerly():
        return
    operation = y_pred.op
    while operation.type in ("Cast", "Identity") and operation.inputs:
        operation = operation.inputs[0].op
    if operation.type in ("Softmax", "Sigmoid"):
        warnings.warn(
            f"{loss} got the output of a {operation.type.lower()} while from_logits=True: "
            "remove the activation, or pass from_logits=False.",
            stacklevel=2,
        )


def probabilities(logits: tf.Tensor, activation: str) -> tf.Tensor:
    """Return what an activation, "softmax" or "sigmoid", makes of logits.

    Example:

    >>> probabilities(tf.zeros([1, 4]), "softmax").numpy().tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    return tf.nn.softmax(logits) if activation == "softmax" else tf.sigmoid(logits)
