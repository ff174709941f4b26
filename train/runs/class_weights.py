"""Weights of the classes in a run's loss, computed from its training data once."""

import json
from pathlib import Path

import tfsegloss
from tfsegloss import SegmentationLoss
from train.common.errors import UserError
from train.common.files import write_whole
from train.data.samples.statistics import SplitStatistics, class_counts

METHODS = {
    "median_frequency": tfsegloss.median_frequency,
    "inverse_frequency": tfsegloss.inverse_frequency,
}
FILE = "class_weights.json"


def require_class_weights(loss: SegmentationLoss) -> None:
    """Refuse a loss that takes no weights of classes, or has them.

    Raises:
        UserError: It is such a loss.
    """
    if getattr(loss, "class_weights", ()) is not None:
        raise UserError(
            f"class_weights needs a loss of pixels without weights of its own, such as "
            f"SoftmaxCrossEntropy or LMPLoss; got {type(loss).__name__}"
        )


def write_class_weights(run: Path, method: str, statistics: SplitStatistics) -> None:
    """Compute the weights and write them into a run's folder, if they are not there.

    Args:
        run: The folder.
        method: One of METHODS.
        statistics: Of the training data.
    """
    if not (run / FILE).exists():
        counts = class_counts(statistics)
        weights = METHODS[method](counts.pixels, counts.image_pixels)
        write_whole(run / FILE, json.dumps([float(weight) for weight in weights]) + "\n")


def with_class_weights(loss: SegmentationLoss, run: Path, num_classes: int) -> SegmentationLoss:
    """Return the loss with the weights of a run's folder, where it has any.

    Args:
        loss: The loss.
        run: The folder.
        num_classes: How many weights there must be.

    Raises:
        UserError: The file is damaged.
    """
    path = run / FILE
    if not path.exists():
        return loss
    try:
        weights = json.loads(path.read_text())
        if not isinstance(weights, list) or len(weights) != num_classes:
            raise ValueError(f"expected {num_classes} numbers")
        return loss.from_config({**loss.get_config(), "class_weights": weights})
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): remove it, and it is written anew") from None
