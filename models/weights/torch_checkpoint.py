"""ImageNet's weights in PyTorch's .pth files for the networks of this package."""

import re
from collections.abc import Mapping

import keras
import numpy as np

from models.weights.assignment import (
    Place,
    Report,
    assign_arrays,
    backbone_of,
    place_of,
    places_behind,
)

# A layer of ours that no other backbones have.
_FIRST_UNIT = "layer1_0_conv1"
BACKBONES = ("resnet101_pytorch", "resnet101_encoding")

# ImageNet's classifier, and how many batches the moving averages have seen.
_IGNORED = re.compile(r"fc\.\w+|.*\.num_batches_tracked")

# Names of a ResNet's stem and stages, of whatever depth.
_LIKE_BACKBONE = re.compile(r"(conv1|bn1|layer\d+)\.")

_UNIT = re.compile(r"(layer\d)_(\d+)_(\w+)")


def import_pth(
    model: keras.Model, arrays: Mapping[str, np.ndarray], *, partial: bool = False
) -> Report:
    """Set a network's backbone from the arrays of a .pth file of ResNet-101.

    The features are those of PyTorch's network for images with sides of 8k + 1; others are padded
    to such. Nothing is set unless everything fits.

    Args:
        model: A network of `models.build` on "resnet101_pytorch" for a file of torchvision's, on
            "resnet101_encoding" for one of PyTorch-Encoding's.
        arrays: What `backbones.torch_file.read_pth` returns.
        partial: Whether weights behind the backbone may keep their values because the file lacks
            them, as such a file always does.

    Returns:
        The names of all arrays, by what became of them.

    Raises:
        ValueError: if the file is of another network, if an array has another shape than
            its weight, if one of the backbone is missing or of another backbone, or if one behind
            it is missing or without a place and `partial` is False.

    Example:
        >>> model = models.build(
        ...     "deeplab_v3", backbone="resnet101_pytorch", num_classes=21)  # doctest: +SKIP
        >>> arrays = read_pth("resnet101-63fe2227.pth")  # doctest: +SKIP
        >>> import_pth(model, arrays, partial=True)  # doctest: +SKIP
        Report(used=('conv1.weight', ...), unused=(), missing=(...), ignored=('fc.bias', ...))

    Reference:
        The names are those of github.com/pytorch/vision, torchvision/models/resnet.py, and of
        github.com/zhanghang1989/PyTorch-Encoding, encoding/models/resnet.py.
    """
    backbone = backbone_of(model, " or ".join(BACKBONES), _FIRST_UNIT)
    places: dict[str, Place] = {}
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Conv2D):
            places[f"{_kernel_name(layer.name)}.weight"] = place_of(layer.kernel)
        elif isinstance(layer, keras.layers.BatchNormalization):
            places |= _batch_norm_places(layer)
    return assign_arrays(
        model,
        places,
        places_behind(model),
        arrays,
        like_backbone=_LIKE_BACKBONE,
        ignored=[name for name in arrays if _IGNORED.fullmatch(name)],
        partial=partial,
    )


def _kernel_name(layer: str) -> str:
    """Translate "layer1_0_conv1", "layer1_0_downsample", "conv1" and "conv1_0"."""
    unit = _UNIT.fullmatch(layer)
    if unit is None:
        return layer.replace("_", ".")
    end = "downsample.0" if unit[3] == "downsample" else unit[3]
    return f"{unit[1]}.{unit[2]}.{end}"


def _batch_norm_places(layer: keras.layers.BatchNormalization) -> dict[str, Place]:
    name = _batch_norm_name(layer.name.removesuffix("_bn"))
    return {
        f"{name}.weight": place_of(layer.gamma),
        f"{name}.bias": place_of(layer.beta),
        f"{name}.running_mean": place_of(layer.moving_mean),
        f"{name}.running_var": place_of(layer.moving_variance),
    }


def _batch_norm_name(kernel: str) -> str:
    """Name the batch normalization behind a kernel of ours.

    In a row of layers it is the next one: "conv1.1" behind "conv1.0", "downsample.1". The last of
    the stem stands outside of the row, as "bn1".
    """
    name = _kernel_name(kernel)
    row, _, place = name.rpartition(".")
    if name in ("conv1", "conv1.6"):
        return "bn1"
    return f"{row}.{int(place) + 1}" if place.isdigit() else f"{row}.{place.replace('conv', 'bn')}"
