"""Output stride: trade the strides of a classification network for dilation, weights unchanged."""

import math
from typing import Any

import keras

OUTPUT_STRIDES = (8, 16, 32)

# Side of the imaginary image that strides are measured on. Large enough that padding by a few
# cells moves no layer's size by as much as a factor of √2.
_PROBE_SIDE = 1024

Edits = dict[str, dict[str, Any]]


def check_output_stride(output_stride: int) -> None:
    """Raise ValueError unless `output_stride` is one of `OUTPUT_STRIDES`."""
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f"`output_stride` must be one of {OUTPUT_STRIDES}. "
            f"Received: output_stride={output_stride!r}"
        )


def dilate(backbone: keras.Model, output_stride: int) -> keras.Model:
    """Return a copy of `backbone`, same weights, whose features have stride `output_stride`.

    Once the product of the strides reaches `output_stride`, every further stride s becomes 1 and
    every kernel behind it is dilated by the strides taken away before it. Every `output_stride/32`
    th feature of the copy is then a feature of the original:

        dilate(b, s)(x)[:, :: 32 // s, :: 32 // s] == b(x)

    for images whose sides are multiples of 32.

    Args:
        backbone: A functional model made of 2-D convolutions and poolings with an input of
            `(batch, None, None, channels)`, overall stride 32.
        output_stride: 8, 16 or 32. 32 gives a plain copy.

    Returns:
        A new functional model with as many weights as `backbone`, in the same order.

    Raises:
        ValueError: if `output_stride` is not possible, or if a stride that has to go belongs to a
            pooling or to a padded ("same") kernel, which have no exact dilated counterpart.

    Example:
        >>> resnet = keras.applications.ResNet50(
        ...     include_top=False, weights=None, input_shape=(None, None, 3))
        >>> models.dilate(resnet, 8).compute_output_shape((1, 64, 64, 3))
        (1, 8, 8, 2048)

    Reference:
        Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017,
        section 3.1. No multi-grid rates: the copy stays exact.
    """
    check_output_stride(output_stride)
    return clone_with(backbone, dilation_edits(backbone, output_stride))


def clone_with(model: keras.Model, edits: Edits) -> keras.Model:
    """Copy a functional model and its weights, with some layers' configurations changed.

    Args:
        model: A functional model.
        edits: Per layer name, the entries of `get_config()` to replace. They must leave the shapes
            of the weights alone.

    Returns:
        A new model; `model` is left untouched.
    """

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), **edits.get(layer.name, {})})

    clone = keras.models.clone_model(model, clone_function=copy)
    clone.set_weights(model.get_weights())
    return clone


def dilation_edits(backbone: keras.Model, output_stride: int) -> Edits:
    """List the configuration changes that bring `backbone` to `output_stride`.

    Args:
        backbone: See `dilate`.
        output_stride: 8, 16 or 32.

    Returns:
        Edits for `clone_with`: strides and dilation rates of convolutions, padding of the
        `ZeroPadding2D` layers in front of them.

    Raises:
        ValueError: see `dilate`.
    """
    strides_at_input = _strides_at_input(backbone)
    paddings = {
        id(layer.output): layer
        for layer in backbone.layers
        if isinstance(layer, keras.layers.ZeroPadding2D)
    }
    edits: Edits = {}
    for layer in _kernel_layers(backbone):
        nominal = strides_at_input[layer.name]
        actual = min(nominal, output_stride)
        rate = nominal // actual
        stride = min(nominal * layer.strides[0], output_stride) // actual
        if rate == 1 and stride == layer.strides[0]:
            continue
        edits[layer.name] = _dilated(layer, stride, rate)
        padding = paddings.get(id(layer.input))
        if padding is not None:
            edits[padding.name] = {"padding": _dilated_padding(padding, layer, rate)}
    return edits


def _kernel_layers(backbone: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in backbone.layers if _kernel_side(layer) is not None]


def _kernel_side(layer: keras.layers.Layer) -> int | None:
    kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    return None if kernel is None else kernel[0]


def _strides_at_input(backbone: keras.Model) -> dict[str, int]:
    """Measure the stride of what every kernel sees, in pixels of the image."""
    layers = _kernel_layers(backbone)
    inputs = keras.Model(backbone.inputs, [layer.input for layer in layers])
    shapes = inputs.compute_output_shape((1, _PROBE_SIDE, _PROBE_SIDE, backbone.input_shape[-1]))
    return {
        layer.name: 2 ** round(math.log2(_PROBE_SIDE / shape[1]))
        for layer, shape in zip(layers, shapes, strict=True)
    }


def _dilated(layer: keras.layers.Layer, stride: int, rate: int) -> dict[str, Any]:
    """Configuration of `layer` at another stride and dilation."""
    side = _kernel_side(layer)
    # A strided "same" kernel is padded by where its last window ends, an unstrided one evenly: the
    # windows of the two do not start at the same pixels.
    moves = layer.padding == "same" and side > 1 and stride != layer.strides[0]
    if moves or not hasattr(layer, "dilation_rate"):
        raise ValueError(
            "A stride can be turned into dilation only in a convolution that is not padded itself. "
            f"Received: layer={layer.name!r} ({type(layer).__name__}, padding={layer.padding!r})"
        )
    # A 1x1 kernel has no gaps to widen, and dilating it would only cost time.
    return {"strides": (stride, stride), "dilation_rate": (rate, rate) if side > 1 else (1, 1)}


def _dilated_padding(
    padding: keras.layers.ZeroPadding2D, layer: keras.layers.Layer, rate: int
) -> tuple[tuple[int, int], ...]:
    """Padding that keeps the size through an unstrided kernel whose first tap stays in place.

    The first tap of the first window lies `before` cells outside the map, and each cell became
    `rate` cells. The rest of the (k − 1)·rate cells that a dilated kernel eats goes behind.
    """
    extent = (_kernel_side(layer) - 1) * rate
    return tuple((before * rate, extent - before * rate) for before, _ in padding.padding)
