"""The one list of losses: what `tfsegloss` exports, and what tables, pictures and tests go through.

A new loss is a file beside this one, an import and a place in `LOSSES`.
"""

from collections.abc import Sequence

from tfsegloss.losses.affinity_field import AffinityFieldLoss
from tfsegloss.losses.base import SegmentationLoss
from tfsegloss.losses.center import CenterLoss
from tfsegloss.losses.cross_entropy import SigmoidCrossEntropy, SoftmaxCrossEntropy
from tfsegloss.losses.focal import FocalLoss
from tfsegloss.losses.lad import LADLoss
from tfsegloss.losses.lmp import LMPLoss
from tfsegloss.losses.lovasz import LovaszLoss
from tfsegloss.losses.overlap import DiceLoss, JaccardLoss, TverskyLoss
from tfsegloss.losses.rmi import RMILoss
from tfsegloss.losses.ssim import SSIMLoss
from tfsegloss.losses.ssl_loss import SSLLoss

# In the order of pictures and tables: first the one that others are compared with, then what looks
# at pixels, windows, regions, pairs, and at the overlap of whole classes.
LOSSES: dict[str, type[SegmentationLoss]] = {
    loss.__name__: loss
    for loss in (
        SoftmaxCrossEntropy,
        SigmoidCrossEntropy,
        FocalLoss,
        CenterLoss,
        LMPLoss,
        LADLoss,
        SSLLoss,
        SSIMLoss,
        RMILoss,
        AffinityFieldLoss,
        DiceLoss,
        JaccardLoss,
        TverskyLoss,
        LovaszLoss,
    )
}

__all__ = list(LOSSES)


def losses_by_name(
    names: Sequence[str] | None = None, num_classes: int | None = None
) -> dict[str, SegmentationLoss]:
    """Return losses of the library with their default options.

    Args:
        names: Names of their classes; None: all but `WeightedLosses`, which has no defaults.
        num_classes: Number of classes; where no names are given, without the losses that need more.

    Returns:
        The losses by these names, in this order.

    Raises:
        ValueError: The library has no loss of a name.

    Example:

    >>> losses_by_name(["RMILoss"])["RMILoss"].region_size
    3
    """
    for name in names or ():
        if name not in LOSSES:
            raise ValueError(f"a loss must be one of {', '.join(LOSSES)}; got {name!r}")
    losses = {name: LOSSES[name]() for name in (LOSSES if names is None else names)}
    if names is not None or num_classes is None:
        return losses
    return {name: loss for name, loss in losses.items() if loss.least_classes <= num_classes}
