"""What a loss looks at, pixel by pixel, as arrays."""

import numpy as np
import tensorflow as tf

from tfsegloss.losses.base import PROBABILITY_MARGIN, SegmentationLoss
from tfsegloss.losses.cross_entropy import SigmoidCrossEntropy, SoftmaxCrossEntropy
from tfsegloss.losses.weighted import WeightedLosses

CROSS_ENTROPIES = {"softmax": SoftmaxCrossEntropy, "sigmoid": SigmoidCrossEntropy}
# By activation: logits of probabilities, and back.
TO_LOGITS = {"softmax": tf.math.log, "sigmoid": lambda p: tf.math.log(p) - tf.math.log1p(-p)}
FROM_LOGITS = {"softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}


def explain(
    loss: SegmentationLoss, y_true: np.ndarray | tf.Tensor, y_pred: np.ndarray | tf.Tensor
) -> dict[str, np.ndarray]:
    """Compute the maps that show what a loss looks at in one image.

    Every loss gives

    - "valid": bool, the pixels that are not ignored;
    - "pixel_loss": the pixel losses before they are pooled; a loss that is more than these has
      "cross_entropy" instead, that of its softmax or sigmoids;
    - "gradient": √(Σ_c (∂L/∂x_c)²) with L the loss and x the logits;

    and, where they are part of its formula,

    - "weights": ∂L/∂ℓ times the number of counted pixels, so that 1 is the plain mean;
    - "agreement" (LAD): ξ, how many pixels of a window have the class of its center, which counts;
    - "hard" (SSL): for how many classes f = 1;
    - "difference" (SSL): the largest e of all classes;
    - "dissimilarity" (SSIM): 1 − SSIM, or 1 − its contrast-structure factor, mean of the classes.

    A sum of losses gives "valid" and "gradient" of the sum, and what is part of the formula of each
    of its losses as "name/map".

    Args:
        loss: Any loss of the library; it stays as it is, its variables too.
        y_true: Labels as the loss takes them, `[H, W]` or `[1, H, W]`.
        y_pred: `[H, W, C]` or `[1, H, W, C]`: logits, or probabilities where the loss takes these
            (the gradient is then by the logits of these probabilities).

    Returns:
        Maps `[H, W]` by name, 0 at ignored pixels.

    Raises:
        ValueError: A shape or a label is none that the loss takes, or a prediction at a pixel that
            is not ignored is NaN or infinite.

    Example:

    >>> from tfsegloss import LMPLoss
    >>> labels, logits = np.array([[0, 0, 255]]), np.array([[[0.0, 2.0], [3.0, 0.0], [9.0, 0.0]]])
    >>> maps = explain(LMPLoss(p=1, fraction=0.5), labels, logits)
    >>> sorted(maps)
    ['gradient', 'pixel_loss', 'valid', 'weights']
    >>> maps["weights"].tolist(), maps["pixel_loss"].round(2).tolist()
    ([[2.0, 0.0, 0.0]], [[2.13, 0.05, 0.0]])
    """
    y_true, y_pred = one_image(y_true, y_pred)
    maps = _maps(loss, y_true, y_pred)
    _check_finite(y_pred, maps["valid"])
    gradient = tf.norm(_gradient(loss, y_true, y_pred), axis=-1)
    maps["gradient"] = tf.where(maps["valid"], gradient, 0)
    return {name: values[0].numpy() for name, values in maps.items()}


def one_image(
    y_true: np.ndarray | tf.Tensor, y_pred: np.ndarray | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the pair with a batch axis of 1.

    Raises:
        ValueError: The prediction is not that of one image.
    """
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    if y_pred.shape.rank == 3:
        y_pred = y_pred[tf.newaxis]
    if y_pred.shape.rank != 4 or y_pred.shape[0] != 1 or 0 in y_pred.shape:
        raise ValueError(
            "`y_pred` must be (height, width, classes), or (1, height, width, classes), each at "
            f"least 1. Received: y_pred.shape={y_pred.shape}"
        )
    one = y_true.shape.rank == 2 or y_true.shape.rank == 3 and y_true.shape[:2] == y_pred.shape[1:3]
    return y_true[tf.newaxis] if one else y_true, y_pred


def _maps(loss: SegmentationLoss, y_true: tf.Tensor, y_pred: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return the maps `[1, H, W]` that a forward pass gives."""
    maps = loss.maps(y_true, y_pred)
    # A sum of other libraries' losses alone: what these ignore cannot be known.
    maps.setdefault("valid", tf.ones(y_pred.shape[:3], tf.bool))
    is_sum = isinstance(loss, WeightedLosses)
    if not is_sum and not {"pixel_loss", "cross_entropy"} & maps.keys():
        cross_entropy = CROSS_ENTROPIES[loss.activation](
            from_logits=loss.from_logits, ignore_class=loss.ignore_class
        )
        maps["cross_entropy"] = cross_entropy.maps(y_true, y_pred)["pixel_loss"]
    return maps


def _check_finite(y_pred: tf.Tensor, valid: tf.Tensor) -> None:
    """Refuse NaN and infinity where a label is: no map would show anything."""
    finite = np.isfinite(y_pred[valid].numpy()).all(axis=-1)
    if not finite.all():
        raise ValueError(
            "`y_pred` must be finite wherever a label is. Received: NaN or infinity at "
            f"{np.count_nonzero(~finite)} of {finite.size} pixels"
        )


def _gradient(loss: SegmentationLoss, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Take the gradient `[1, H, W, C]` by the logits of a copy, whose variables may move."""
    copy = type(loss).from_config(loss.get_config())
    copy.build(y_pred.shape[-1])
    if loss.variables:
        for new, old in zip(copy.variables, loss.variables, strict=True):
            new.assign(old)
    dtype = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
    logits, to_prediction = tf.cast(y_pred, dtype), tf.identity
    if not loss.from_logits:
        to_prediction = FROM_LOGITS[loss.activation]
        inside = tf.clip_by_value(logits, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
        logits = TO_LOGITS[loss.activation](inside)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = copy(y_true, to_prediction(logits))
    return tape.gradient(value, logits)
