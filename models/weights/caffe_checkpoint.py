"""DeepLabV2's published .caffemodel files for the networks of this package."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

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

# A layer of ours that no other backbone has.
_FIRST_UNIT = "res2a_branch2a"

# ImageNet's classifier, and the copies of all layers that see the image at a smaller scale.
_CLASSIFIER = "fc1000"
_SCALED = re.compile(r"_res0\d+$")

# Names of a ResNet's stem and stages, of whatever depth; one of 50 has biases in its stem.
_LIKE_BACKBONE = re.compile(r"((bn|scale)_)?conv1/|(res|bn|scale)\d")

# The classifiers of the pyramid: "fc1_voc12_c0" to "fc1_voc12_c3" in the file for VOC.
_HEAD = re.compile(r"(fc1(?:_\w+)?)_c0")
_LIKE_HEAD = re.compile(r"fc1(_\w+)?_c\d+/")
_USUAL_HEAD = "fc1_voc12"
# Ours.
_BRANCH = re.compile(r"aspp_branch(\d+)/(kernel|bias)")

# What the blobs of a layer are, by the beginning of its name.
_STATISTICS = ("mean", "variance", "factor")
_SCALE = ("gamma", "beta")
_KERNEL = ("weights", "biases")


def import_caffemodel(
    model: keras.Model, layers: Mapping[str, Sequence[np.ndarray]], *, partial: bool = False
) -> Report:
    """Set a network's weights from the layers of DeepLabV2's .caffemodel on ResNet-101.

    Kernels change the order of their axes, statistics are divided by the factor that Caffe keeps
    beside them, all other values stay. The features are those of Caffe's network at one scale, for
    images with sides of 8k + 1; others are padded to such. DeepLabV2's published scores fuse three
    scales. ImageNet's own ResNet-101 has the same names, but not the same features: it subtracts a
    mean image, and pools without padding. Nothing is set unless everything fits.

    Args:
        model: A network of `models.build` on "resnet101_caffe": "deeplab_v2" for a file with the
            pyramid's classifiers, any for the backbone alone. A learnt upsampling stays as it is;
            built anew it is bilinear, like Caffe's.
        layers: What `caffe_file.read_caffemodel` returns.
        partial: Whether weights behind the backbone may keep their values because the file lacks
            them, as one does that was trained on MS-COCO alone.

    Returns:
        The names of all blobs, as "layer/blob", by what became of them.

    Raises:
        ValueError: if the file is of another network, if a blob has another shape than its
            weight, if one of the backbone is missing or of another backbone, if one behind it is
            missing or without a place and `partial` is False, or if only a part of a pyramid would
            be used.

    Example:
        >>> model = models.build(
        ...     "deeplab_v2", backbone="resnet101_caffe", num_classes=21)  # doctest: +SKIP
        >>> layers = read_caffemodel("train2_iter_20000.caffemodel")  # doctest: +SKIP
        >>> import_caffemodel(model, layers)  # doctest: +SKIP
        Report(used=('conv1/weights', ...), unused=(), missing=(), ignored=(...))

    Reference:
        The names are those of liangchiehchen.com/projects/DeepLabv2_resnet.html, which took the
        backbone's from github.com/KaimingHe/deep-residual-networks.
    """
    backbone = backbone_of(model, "resnet101_caffe", _FIRST_UNIT)
    arrays = {}
    for name, blobs in layers.items():
        arrays |= _arrays(name, blobs)
    return assign_arrays(
        model,
        _backbone_places(backbone),
        _head_places(model, _head_name(layers)),
        arrays,
        like_backbone=_LIKE_BACKBONE,
        like_head=_LIKE_HEAD,
        ignored=[name for name in arrays if _is_ignored(name.partition("/")[0])],
        partial=partial,
    )


def _is_ignored(layer: str) -> bool:
    return layer == _CLASSIFIER or _SCALED.search(layer) is not None


def _head_name(layers: Iterable[str]) -> str:
    found = sorted(match[1] for match in map(_HEAD.fullmatch, layers) if match)
    if len(found) > 1:
        raise ValueError(
            "`checkpoint` must hold the classifiers of one pyramid. "
            f"Received: {', '.join(f'{name}_c0' for name in found)}"
        )
    return found[0] if found else _USUAL_HEAD


def _arrays(layer: str, blobs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Name the blobs of a layer, and bring them into the form that Keras computes with."""
    names = _KERNEL
    if layer.startswith("bn"):
        names = _STATISTICS
    elif layer.startswith("scale"):
        names = _SCALE
    if len(blobs) > len(names) or (names is _STATISTICS and len(blobs) < len(names)):
        raise ValueError(
            f"`checkpoint` must hold the blobs {names} of the layer {layer}. "
            f"Received: {len(blobs)} blobs"
        )
    named = {
        name: blob if name == "weights" else _vector(blob)
        for name, blob in zip(names, blobs, strict=False)
    }
    if names is _STATISTICS:
        named = _averages(layer, **named)
    return {f"{layer}/{name}": blob for name, blob in named.items()}


def _vector(blob: np.ndarray) -> np.ndarray:
    """Take away the sides of one that blobs of the older form have in front."""
    return blob.reshape(-1) if math.prod(blob.shape[:-1]) == 1 else blob


def _averages(
    layer: str, mean: np.ndarray, variance: np.ndarray, factor: np.ndarray
) -> dict[str, np.ndarray]:
    """Divide sums of statistics, which Caffe keeps, by the sum of their weights."""
    if factor.size != 1:
        raise ValueError(
            f"`checkpoint` must hold one factor of the statistics of {layer}. "
            f"Received: {factor.size}"
        )
    if not (np.isfinite(factor) & (factor >= 0)).all():
        raise ValueError(
            f"`checkpoint` must hold a factor of the statistics of {layer} that is finite and not "
            f"below 0. Received: {factor.item()}"
        )
    # Of no statistics yet Caffe makes zeros.
    share = 0.0 if factor.item() == 0 else 1 / factor.item()
    return {
        "mean": mean.astype("float64") * share,
        "variance": variance.astype("float64") * share,
    }


def _backbone_places(backbone: keras.Model) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Conv2D):
            places[f"{layer.name}/weights"] = place_of(layer.kernel)
        elif isinstance(layer, keras.layers.BatchNormalization):
            places |= _batch_norm_places(layer)
    return places


def _head_places(model: keras.Model, head: str) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for name, place in places_behind(model).items():
        branch = _BRANCH.fullmatch(name)
        if branch:
            kind = "weights" if branch[2] == "kernel" else "biases"
            name = f"{head}_c{int(branch[1]) - 1}/{kind}"
        places[name] = place
    return places


def _batch_norm_places(layer: keras.layers.BatchNormalization) -> dict[str, Place]:
    """Caffe normalizes in one layer, and scales in another: "bn2a_branch1", "scale2a_branch1"."""
    kernel = layer.name.removesuffix("_bn")
    end = kernel.removeprefix("res") if kernel.startswith("res") else f"_{kernel}"
    return {
        f"bn{end}/mean": place_of(layer.moving_mean),
        f"bn{end}/variance": place_of(layer.moving_variance),
        f"scale{end}/gamma": place_of(layer.gamma),
        f"scale{end}/beta": place_of(layer.beta),
    }
