"""From counts of pixels, by image and class, to scores."""

import numpy as np

# What is counted of each image and class: pixels by truth, by prediction, and where both agree;
# and those along the edges of both, and of either.
COUNTS = ("truth", "predicted", "both", "edge_both", "edge_either")


def iou(counts: np.ndarray) -> np.ndarray:
    """Return the IoU `[…, C]` of counts `[…, 5, C]`; NaN of a class that is nowhere.

    Args:
        counts: In the order of COUNTS, over all images.
    """
    truth, predicted, both = np.moveaxis(counts, -2, 0)[:3]
    return _quotient(both, truth + predicted - both)


def boundary_iou(counts: np.ndarray) -> np.ndarray:
    """Return the boundary IoU `[…, C]` of counts `[…, 5, C]`; NaN of a class that is nowhere."""
    both, either = np.moveaxis(counts, -2, 0)[3:]
    return _quotient(both, either)


def iou_of_part(counts: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return the IoU `[…, C]` of a part of the images; NaN of a class whose truth is in others.

    Else one wrong pixel would be worth a class.

    Args:
        counts: Of the part, `[…, 5, C]`.
        whole: Of all images.
    """
    here, anywhere = (totals[..., COUNTS.index("truth"), :] > 0 for totals in (counts, whole))
    return np.where(anywhere & ~here, np.nan, iou(counts))


def mean(scores: np.ndarray) -> np.ndarray:
    """Return the mean `[…]` of scores `[…, C]` over the classes that are somewhere."""
    present = ~np.isnan(scores)
    return _quotient(np.where(present, scores, 0.0).sum(axis=-1), present.sum(axis=-1))


def _quotient(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Return the quotient, NaN where nothing is counted."""
    return np.where(under > 0, over / np.maximum(under, 1), np.nan)
