"""Segmentation networks on classification networks at any output stride."""

from models.backbones import BACKBONES, build_backbone
from models.deeplab_v2 import deeplab_v2
from models.deeplab_v3 import deeplab_v3
from models.deeplab_v3_plus import deeplab_v3_plus
from models.dilation import OUTPUT_STRIDES, dilate
from models.registry import ARCHITECTURES, build

__all__ = [
    "ARCHITECTURES",
    "BACKBONES",
    "OUTPUT_STRIDES",
    "build",
    "build_backbone",
    "deeplab_v2",
    "deeplab_v3",
    "deeplab_v3_plus",
    "dilate",
]
