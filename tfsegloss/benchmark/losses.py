"""What the benchmark measures."""

import functools
from collections.abc import Callable

from tfsegloss.benchmark.measure import IGNORED, REFERENCE
from tfsegloss.core.keras_versions import keras
from tfsegloss.losses import ssim
from tfsegloss.losses.cross_entropy import SoftmaxCrossEntropy
from tfsegloss.losses.registry import LOSSES
from tfsegloss.poolings.max_pooling import MaxPooling
from tfsegloss.poolings.pooling import Minkowski, TopK


def losses() -> dict[str, Callable[[], keras.losses.Loss]]:
    """Return how to make each loss that is measured, by name; Keras' own is the first.

    Returns:
        A default instance of every loss of the library, the other form of SSIM, and the softmax's
        cross-entropy with every pooling but the mean, which is its default.

    Example:

    >>> list(losses())[:3]
    ['Keras', 'SoftmaxCrossEntropy', 'SigmoidCrossEntropy']
    """
    makers = {REFERENCE: keras_cross_entropy, **LOSSES}
    for form in ssim.FORMS:
        if form != ssim.SSIMLoss().form:
            makers[f"SSIMLoss/{form}"] = functools.partial(ssim.SSIMLoss, form=form)
    for kind in (Minkowski, MaxPooling, TopK):
        make = functools.partial(SoftmaxCrossEntropy, pooling=kind())
        makers[f"SoftmaxCrossEntropy/{kind.__name__}"] = make
    return makers


def keras_cross_entropy() -> keras.losses.Loss:
    """Make the loss that the others are compared with."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORED)
