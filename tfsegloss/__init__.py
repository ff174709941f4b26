"""Structured losses for semantic segmentation in TensorFlow and Keras."""

from tfsegloss.base import SegmentationLoss
from tfsegloss.cross_entropy import SigmoidCrossEntropy, SoftmaxCrossEntropy
from tfsegloss.max_pooling import LMPLoss, MaxPooling, optimal_weights
from tfsegloss.metrics import MeanIoU
from tfsegloss.pixel_loss import PixelLoss
from tfsegloss.pooling import Mean, Minkowski, Pooling, TopK
from tfsegloss.region_mutual_information import RMILoss

__all__ = [
    "LMPLoss",
    "MaxPooling",
    "Mean",
    "MeanIoU",
    "Minkowski",
    "PixelLoss",
    "Pooling",
    "RMILoss",
    "SegmentationLoss",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "TopK",
    "optimal_weights",
]
