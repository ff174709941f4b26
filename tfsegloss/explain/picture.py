"""One picture of what several losses look at in the same image."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfsegloss.core.command_line import write_whole
from tfsegloss.explain.drawing import draw_rows
from tfsegloss.explain.maps import explain, one_image
from tfsegloss.losses.base import SegmentationLoss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".jpg", ".jpeg", ".pdf", ".svg")
JPEG = {"pil_kwargs": {"quality": 85, "optimize": True, "progressive": True}}
PILLOW_OPTIONS = {"jpg": JPEG, "jpeg": JPEG, "png": {"pil_kwargs": {"optimize": True}}}


def draw(
    losses: Mapping[str, SegmentationLoss],
    y_true: np.ndarray | tf.Tensor,
    y_pred: np.ndarray | tf.Tensor,
    *,
    image: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    colors: Sequence[tuple[int, int, int]] | None = None,
) -> "Figure":
    """One picture of what several losses look at in the same image.

    The first row shows the image, the labels, the prediction and its errors; then each loss has a
    row with the maps of `explain`. Each gradient map is divided by its mean; all share one scale,
    and so do the weights. From the second loss on, one more map shows where it looks more or less
    than the first. Pixels that a loss ignores are gray.

    Args:
        losses: By the name that is written above the row.
        y_true: Class ids `[H, W]` or `[1, H, W]`.
        y_pred: As for `explain`; what all the losses take.
        image: uint8 `[H, W, 3]`.
        class_names: Names of the classes, for a legend.
        colors: RGB of the classes, 0 to 255.

    Returns:
        A figure of matplotlib; `save` writes it.

    Raises:
        ValueError: A shape, a label or a prediction is none that a loss takes; there is no loss, or
            no pixel has a label.
        ModuleNotFoundError: matplotlib is missing.

    Example:

    >>> from tfsegloss import RMILoss
    >>> labels, logits = np.zeros([6, 8], int), np.zeros([6, 8, 2])
    >>> figure = draw({"Region mutual information": RMILoss()}, labels, logits)
    """
    if not losses:
        raise ValueError("`losses` must hold at least one loss. Received: losses={}")
    truth, prediction = (tensor[0].numpy() for tensor in one_image(y_true, y_pred))
    size = prediction.shape[:2]
    if image is not None and np.shape(image) != (*size, 3):
        raise ValueError(
            f"`image` must be {(*size, 3)} (height, width, 3), as the prediction. "
            f"Received: image.shape={np.shape(image)}"
        )
    rows = {name: explain(loss, y_true, y_pred) for name, loss in losses.items()}
    valid = np.logical_or.reduce([maps["valid"] for maps in rows.values()])
    if not valid.any():
        raise ValueError("`y_true` must hold a label. Received: every pixel is ignored")
    return draw_rows(
        rows,
        _classes_of_truth(truth),
        _classes_of_prediction(prediction, next(iter(losses.values())).from_logits),
        valid,
        image=image,
        class_names=class_names,
        colors=colors,
    )


def save(figure: "Figure", path: str | os.PathLike) -> None:
    """Write a picture, wholly or not at all, in the format of the path's suffix.

    Args:
        figure: As `draw` makes it.
        path: In a folder that is there.

    Raises:
        ValueError: matplotlib does not know the format.
        OSError: The file cannot be written.

    Example:

    >>> import tempfile
    >>> from tfsegloss.explain import draw_weight_space
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(draw_weight_space(), f"{folder}/figure.png")
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".") or "png"
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **PILLOW_OPTIONS.get(kind, {}))
    write_whole(path, buffer.getvalue())


def _classes_of_truth(truth: np.ndarray) -> np.ndarray:
    """Return class ids `[H, W]` of ids or of dense targets."""
    if truth.ndim == 3:
        truth = truth[..., 0] if truth.shape[-1] == 1 else truth.argmax(axis=-1)
    return truth.astype(int)


def _classes_of_prediction(prediction: np.ndarray, from_logits: bool) -> np.ndarray:
    """Return the likeliest classes `[H, W]`; of one class, whether it is likelier than not."""
    if prediction.shape[-1] > 1:
        return prediction.argmax(axis=-1)
    return (prediction[..., 0] > (0 if from_logits else 0.5)).astype(int)
