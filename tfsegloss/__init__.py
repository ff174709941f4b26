"""Structured losses for semantic segmentation in TensorFlow and Keras."""

from tfsegloss.base import SegmentationLoss
from tfsegloss.cross_entropy import SigmoidCrossEntropy, SoftmaxCrossEntropy
from tfsegloss.metrics import MeanIoU
from tfsegloss.pixel_loss import PixelLoss
from tfsegloss.pooling import Mean, Pooling
from tfsegloss.region_mutual_information import RMILoss

__all__ = [
    "Mean",
    "MeanIoU",
    "PixelLoss",
    "Pooling",
    "RMILoss",
    "SegmentationLoss",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
]
