"""Multi-grid: kernels of a network's last block at growing rates."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import keras

from models.backbones.registry import BACKBONES


def with_multi_grid(
    network: keras.Model, last_block: Sequence[str], rates: Sequence[int]
) -> keras.Model:
    """Copy a network, same weights, with the kernels of its last block dilated.

    `dilate` multiplies the rates on: at output stride s a kernel of rate r has rate r · 32/s, the
    paper's "corresponding rate" times the unit rate, and features are those of this copy exactly,
    whatever the stride.

    Args:
        network: A functional model.
        last_block: Names of the convolutions, all unstrided with padding "same".
        rates: Of each, ≥ 1; the paper's are (1, 2, 4).

    Returns:
        A new functional model with the layers' names, and the weights in the same order.

    Raises:
        ValueError: if the network has no such block, or the rates do not fit it.

    Example:
        >>> resnet = keras.applications.ResNet50(include_top=False, weights=None)
        >>> names = [f"conv5_block{i}_2_conv" for i in (1, 2, 3)]
        >>> copy = with_multi_grid(resnet, names, (1, 2, 4))
        >>> [copy.get_layer(name).dilation_rate for name in names]
        [(1, 1), (2, 2), (4, 4)]

    Reference:
        Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017,
        section 3.2.1.
    """
    if not last_block:
        names = ", ".join(name for name, backbone in BACKBONES.items() if backbone.last_block)
        raise ValueError(
            "`multi_grid` must be None: only some ResNets have a last block whose 3x3 kernels all "
            f"can be dilated, none of them taking its stride ({names}). "
            f"Received: multi_grid={rates!r}"
        )
    if not _are_rates(rates) or len(rates) != len(last_block):
        raise ValueError(
            f"`multi_grid` must be None or {len(last_block)} integers of at least 1. "
            f"Received: multi_grid={rates!r}"
        )
    rate_of = dict(zip(last_block, rates, strict=True))

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name in rate_of:
            config["dilation_rate"] = rate_of[layer.name]
        return type(layer).from_config(config)

    copied = keras.models.clone_model(network, clone_function=copy)
    copied.set_weights(network.get_weights())
    return copied


def _are_rates(rates: Any) -> bool:
    return isinstance(rates, (tuple, list)) and all(
        isinstance(rate, Integral) and not isinstance(rate, bool) and rate >= 1 for rate in rates
    )
