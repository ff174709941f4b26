"""Structured losses for semantic segmentation in TensorFlow and Keras."""

from tfsegloss.losses.affinity_field import AffinityFieldLoss
from tfsegloss.losses.base import SegmentationLoss
from tfsegloss.losses.center import CenterLoss
from tfsegloss.losses.cross_entropy import SigmoidCrossEntropy, SoftmaxCrossEntropy
from tfsegloss.losses.focal import FocalLoss
from tfsegloss.losses.lad import LADLoss
from tfsegloss.losses.lmp import LMPLoss
from tfsegloss.losses.pixel import PixelLoss
from tfsegloss.losses.rmi import RMILoss
from tfsegloss.losses.ssim import SSIMLoss
from tfsegloss.losses.ssl_loss import SSLLoss
from tfsegloss.losses.weighted import WeightedLosses
from tfsegloss.metrics.class_weights import class_counts, inverse_frequency, median_frequency
from tfsegloss.metrics.confusion import MeanIoU
from tfsegloss.poolings.max_pooling import MaxPooling, optimal_weights
from tfsegloss.poolings.pooling import Mean, Minkowski, Pooling, TopK

__all__ = [
    "AffinityFieldLoss",
    "CenterLoss",
    "FocalLoss",
    "LADLoss",
    "LMPLoss",
    "MaxPooling",
    "Mean",
    "MeanIoU",
    "Minkowski",
    "PixelLoss",
    "Pooling",
    "RMILoss",
    "SSIMLoss",
    "SSLLoss",
    "SegmentationLoss",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "TopK",
    "WeightedLosses",
    "class_counts",
    "inverse_frequency",
    "median_frequency",
    "optimal_weights",
]
