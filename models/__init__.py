"""DeepLab segmentation networks on classification networks at any output stride."""

from models.keras_3 import require_keras_3

require_keras_3()

from models.architectures.deeplab_v2 import deeplab_v2
from models.architectures.deeplab_v3 import deeplab_v3
from models.architectures.deeplab_v3_plus import deeplab_v3_plus
from models.backbones.encoder import build_backbone
from models.backbones.registry import BACKBONES
from models.builder import ARCHITECTURES, build, stored_classes, stored_part
from models.class_count import class_count_by_pairs
from models.dilation.dilate import OUTPUT_STRIDES, dilate
from models.layer_names import layers_of, other_layers
from models.stored_weights import WEIGHT_FILES

__all__ = [
    "ARCHITECTURES",
    "BACKBONES",
    "OUTPUT_STRIDES",
    "WEIGHT_FILES",
    "build",
    "build_backbone",
    "class_count_by_pairs",
    "deeplab_v2",
    "deeplab_v3",
    "deeplab_v3_plus",
    "dilate",
    "layers_of",
    "other_layers",
    "stored_classes",
    "stored_part",
]
