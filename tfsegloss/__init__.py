"""Structured losses for semantic segmentation in TensorFlow and Keras."""

from tfsegloss.losses import registry
from tfsegloss.losses.base import SegmentationLoss
from tfsegloss.losses.pixel import PixelLoss
from tfsegloss.losses.registry import *
from tfsegloss.losses.weighted import WeightedLosses
from tfsegloss.metrics.class_weights import class_counts, inverse_frequency, median_frequency
from tfsegloss.metrics.confusion import MeanIoU
from tfsegloss.metrics.multi_label import MultiLabelIoU
from tfsegloss.poolings.max_pooling import MaxPooling, optimal_weights
from tfsegloss.poolings.pooling import Mean, Minkowski, Pooling, TopK

__version__ = "0.2.0"

__all__ = [
    *registry.__all__,
    "MaxPooling",
    "Mean",
    "MeanIoU",
    "Minkowski",
    "MultiLabelIoU",
    "PixelLoss",
    "Pooling",
    "SegmentationLoss",
    "TopK",
    "WeightedLosses",
    "class_counts",
    "inverse_frequency",
    "median_frequency",
    "optimal_weights",
]
