"""Structured losses for semantic segmentation in TensorFlow and Keras."""

from tfsegloss.affinity_field import AffinityFieldLoss
from tfsegloss.base import SegmentationLoss
from tfsegloss.center import CenterLoss
from tfsegloss.class_balance import class_counts, inverse_frequency, median_frequency
from tfsegloss.cross_entropy import SigmoidCrossEntropy, SoftmaxCrossEntropy
from tfsegloss.focal import FocalLoss
from tfsegloss.locally_adaptive import LADLoss
from tfsegloss.max_pooling import LMPLoss, MaxPooling, optimal_weights
from tfsegloss.metrics import MeanIoU
from tfsegloss.pixel_loss import PixelLoss
from tfsegloss.pooling import Mean, Minkowski, Pooling, TopK
from tfsegloss.region_mutual_information import RMILoss
from tfsegloss.ssim import SSIMLoss
from tfsegloss.structural_similarity import SSLLoss
from tfsegloss.weighted import WeightedLosses

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
