"""The losses of the library, in the order in which pictures and tables show them."""

from collections.abc import Sequence

from tfsegloss.losses.affinity_field import AffinityFieldLoss
from tfsegloss.losses.base import SegmentationLoss
from tfsegloss.losses.center import CenterLoss
from tfsegloss.losses.cross_entropy import SigmoidCrossEntropy, SoftmaxCrossEntropy
from tfsegloss.losses.focal import FocalLoss
from tfsegloss.losses.lad import LADLoss
from tfsegloss.losses.lmp import LMPLoss
from tfsegloss.losses.rmi import RMILoss
from tfsegloss.losses.ssim import SSIMLoss
from tfsegloss.losses.ssl_loss import SSLLoss

# First the one that others are compared with, then what looks at pixels, windows, regions, pairs.
LOSSES = {
    kind.__name__: kind
    for kind in (
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
    )
}


def losses_by_name(names: Sequence[str] = tuple(LOSSES)) -> dict[str, SegmentationLoss]:
    """Losses of the library with their default options.

    Args:
        names: Names of their classes; by default all but `WeightedLosses`, which has no defaults.

    Returns:
        The losses by these names, in this order.

    Raises:
        ValueError: The library has no loss of a name.

    Example:

    >>> losses_by_name(["RMILoss"])["RMILoss"].region_size
    3
    """
    for name in names:
        if name not in LOSSES:
            raise ValueError(f"a loss must be one of {', '.join(LOSSES)}; got {name!r}")
    return {name: LOSSES[name]() for name in names}
