"""Segmentation networks on Keras backbones at any output stride."""

from models.backbones import BACKBONES, build_backbone, feature_maps
from models.deeplab_v3_plus import deeplab_v3_plus
from models.dilation import OUTPUT_STRIDES, dilate
from models.registry import ARCHITECTURES, build

__all__ = [
    "ARCHITECTURES",
    "BACKBONES",
    "OUTPUT_STRIDES",
    "build",
    "build_backbone",
    "deeplab_v3_plus",
    "dilate",
    "feature_maps",
]
