"""Names of variables in DeepLab's checkpoints, and the weights of our networks they belong to.

The names are those that the slim layers of github.com/tensorflow/models, research/deeplab, give
their variables: core/xception.py and core/resnet_v1_beta.py for the backbones, model.py for the
head.
"""

import dataclasses
import re
from typing import NamedTuple

from models.architectures.deeplab_v3_plus import LOW_LEVEL_CHANNELS
from models.backbones import resnet_beta, xception_65

# The scope that a backbone's names begin with. `name_scope` of core/feature_extractor.py gives the
# beta variant the first of the two, its own constructor the second.
SCOPES = {
    "xception_65": ("xception_65",),
    "resnet101_beta": ("resnet_v1_101", "resnet_v1_101_beta"),
}

PARTS = ("backbone", "head")

# What the names of any head begin with.
LIKE_HEAD = re.compile(r"(image_pooling|aspp\d+(_\w+)?|concat_projection|decoder|logits)/")

_BATCH_NORM_WEIGHTS = ("gamma", "beta", "moving_mean", "moving_variance")


class Target(NamedTuple):
    """Where a variable goes.

    Attributes:
        layer: Name of the Keras layer: of the backbone, or of the network around it.
        weight: Attribute of the layer.
        shape: Of the variable, in the checkpoint and here.
    """

    layer: str
    weight: str
    shape: tuple[int, ...]


Targets = dict[str, Target]


@dataclasses.dataclass(frozen=True)
class Head:
    """What stands behind a backbone; the defaults are the published network for PASCAL VOC.

    Attributes:
        num_classes: Number of classes.
        channels: Width of pyramid and decoder.
        branches: Number of atrous branches.
        separable: Whether their kernels and the decoder's are depthwise separable.
        decoder: Whether there is one: DeepLabV3+, not DeepLabV3.
    """

    num_classes: int = 21
    channels: int = 256
    branches: int = 3
    separable: bool = True
    decoder: bool = True


def slim_variables(
    backbone: str, part: str, *, head: Head | None = None, scope: str | None = None
) -> Targets:
    """List the variables that a checkpoint of DeepLab holds for a part of a network.

    Args:
        backbone: A key of `SCOPES`.
        part: "backbone" or "head".
        head: What stands behind the backbone; None for the published network.
        scope: What the backbone's names begin with, one of `SCOPES[backbone]`; None for the first.

    Returns:
        Where each variable goes, by its name in the checkpoint, in the order of the network.

    Raises:
        ValueError: if `backbone` or `part` is none of the possible ones.

    Example:
        >>> from models.weights.slim_names import slim_variables
        >>> variables = slim_variables("xception_65", "backbone")
        >>> variables["xception_65/entry_flow/conv1_1/weights"]
        Target(layer='entry_flow_conv1_1', weight='kernel', shape=(3, 3, 3, 32))
        >>> list(slim_variables("xception_65", "head"))[-2:]
        ['logits/semantic/weights', 'logits/semantic/biases']
    """
    if backbone not in SCOPES:
        raise ValueError(f"`backbone` must be one of {tuple(SCOPES)}. Received: {backbone=}")
    if part not in PARTS:
        raise ValueError(f"`part` must be one of {PARTS}. Received: {part=}")
    if part == "head":
        return _head(head or Head(), *_feature_channels(backbone))
    variables = _xception() if backbone == "xception_65" else _resnet()
    scope = scope or SCOPES[backbone][0]
    return {f"{scope}/{name}": target for name, target in variables.items()}


def _kernel(scope: str, layer: str, shape: tuple[int, ...]) -> Targets:
    """List the variables of slim.conv2d with batch normalization."""
    return {
        f"{scope}/weights": Target(layer, "kernel", shape),
        **_batch_norm(scope, f"{layer.removesuffix('_conv')}_bn", shape[-1]),
    }


def _depthwise_kernel(scope: str, layer: str, channels: int) -> Targets:
    """List those of slim.separable_conv2d with batch normalization and no pointwise part."""
    return {
        f"{scope}/depthwise_weights": Target(layer, "kernel", (3, 3, channels, 1)),
        **_batch_norm(scope, f"{layer}_bn", channels),
    }


def _batch_norm(scope: str, layer: str, channels: int) -> Targets:
    return {
        f"{scope}/BatchNorm/{weight}": Target(layer, weight, (channels,))
        for weight in _BATCH_NORM_WEIGHTS
    }


def _xception() -> Targets:
    variables: Targets = {}
    channels = 3
    for scope, filters, _ in xception_65.STEM:
        variables |= _kernel(scope, scope.replace("/", "_"), (3, 3, channels, filters))
        channels = filters
    for block in xception_65.BLOCKS:
        for unit in range(1, block.units + 1):
            variables |= _xception_unit(block, f"{block.name}/unit_{unit}", channels)
            channels = block.depths[-1]
    return variables


def _xception_unit(block: xception_65.Block, unit: str, channels: int) -> Targets:
    variables: Targets = {}
    scope, layer = f"{unit}/xception_module", unit.replace("/", "_")
    inputs = (channels, *block.depths[:-1])
    for i, (before, after) in enumerate(zip(inputs, block.depths, strict=True), start=1):
        name = f"separable_conv{i}"
        variables |= _depthwise_kernel(
            f"{scope}/{name}_depthwise", f"{layer}_{name}_depthwise", before
        )
        variables |= _kernel(
            f"{scope}/{name}_pointwise", f"{layer}_{name}_pointwise", (1, 1, before, after)
        )
    if block.shortcut == "conv":
        shape = (1, 1, channels, block.depths[-1])
        variables |= _kernel(f"{scope}/shortcut", f"{layer}_shortcut", shape)
    return variables


def _resnet() -> Targets:
    variables: Targets = {}
    channels = 3
    for name, filters, _ in resnet_beta.STEM:
        variables |= _kernel(name, name, (3, 3, channels, filters))
        channels = filters
    for block in resnet_beta.BLOCKS:
        for unit in range(1, block.units + 1):
            variables |= _resnet_unit(f"{block.name}/unit_{unit}", channels, block.filters)
            channels = resnet_beta.EXPANSION * block.filters
    return variables


def _resnet_unit(unit: str, channels: int, filters: int) -> Targets:
    expanded = resnet_beta.EXPANSION * filters
    kernels = {
        "conv1": (1, 1, channels, filters),
        "conv2": (3, 3, filters, filters),
        "conv3": (1, 1, filters, expanded),
    }
    if channels != expanded:
        kernels = {"shortcut": (1, 1, channels, expanded), **kernels}
    variables: Targets = {}
    for name, shape in kernels.items():
        layer = f"{unit.replace('/', '_')}_{name}"
        variables |= _kernel(f"{unit}/bottleneck_v1/{name}", layer, shape)
    return variables


def _feature_channels(backbone: str) -> tuple[int, int]:
    """Return the channels of the last features and of those that the decoder takes."""
    if backbone == "xception_65":
        return xception_65.BLOCKS[-1].depths[-1], xception_65.BLOCKS[1].depths[1]
    first, *_, last = resnet_beta.BLOCKS
    return resnet_beta.EXPANSION * last.filters, resnet_beta.EXPANSION * first.filters


def _head(head: Head, features: int, low_level_features: int) -> Targets:
    variables = _pyramid(head, features)
    if head.decoder:
        variables |= _decoder(head, low_level_features)
    shape = (1, 1, head.channels, head.num_classes)
    variables["logits/semantic/weights"] = Target("logits", "kernel", shape)
    variables["logits/semantic/biases"] = Target("logits", "bias", (head.num_classes,))
    return variables


def _pyramid(head: Head, features: int) -> Targets:
    shape = (1, 1, features, head.channels)
    variables = _kernel("image_pooling", "aspp_pool_conv", shape)
    variables |= _kernel("aspp0", "aspp_1x1_conv", shape)
    for i in range(1, head.branches + 1):
        variables |= _block(f"aspp{i}", f"aspp_branch{i}", features, head)
    # Both concatenate image pooling, the 1x1 branch and the other branches in this order.
    shape = (1, 1, (2 + head.branches) * head.channels, head.channels)
    return variables | _kernel("concat_projection", "aspp_project_conv", shape)


def _decoder(head: Head, low_level_features: int) -> Targets:
    shape = (1, 1, low_level_features, LOW_LEVEL_CHANNELS)
    variables = _kernel("decoder/feature_projection0", "decoder_low_conv", shape)
    # Kernels that are not separable are made by slim.repeat, which counts from one.
    scopes = (
        ("decoder_conv0", "decoder_conv1")
        if head.separable
        else ("decoder_conv0/decoder_conv0_1", "decoder_conv0/decoder_conv0_2")
    )
    inputs = (head.channels + LOW_LEVEL_CHANNELS, head.channels)
    for i, (scope, channels) in enumerate(zip(scopes, inputs, strict=True), start=1):
        variables |= _block(f"decoder/{scope}", f"decoder_{i}", channels, head)
    return variables


def _block(scope: str, layer: str, channels: int, head: Head) -> Targets:
    """List the variables of a 3x3 convolution, separable or not."""
    if not head.separable:
        return _kernel(scope, f"{layer}_conv", (3, 3, channels, head.channels))
    shape = (1, 1, channels, head.channels)
    return {
        **_depthwise_kernel(f"{scope}_depthwise", f"{layer}_depthwise", channels),
        **_kernel(f"{scope}_pointwise", f"{layer}_pointwise_conv", shape),
    }
