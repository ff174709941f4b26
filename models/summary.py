"""Parameters and multiply-adds of a network, by part and stride."""

import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import keras

# Strides are read off the sides of maps; in images with smaller sides the padding distorts them.
LEAST_SIDE = 64


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer with a kernel, or with other weights.

    Attributes:
        part: Of the network: "backbone", or the first word of the layer's name.
        stride: Height of the image over that of the output. None: the output is no map.
        rates: Dilation, of kernels of more than one tap.
        parameters: Number of weights.
        multiply_adds: For one image.
    """

    part: str
    stride: int | None
    rates: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclasses.dataclass(frozen=True)
class Stage:
    """All layers of a part at a stride; the attributes are the sums of `Layer`'s."""

    part: str
    stride: int | None
    rates: tuple[int, ...]
    parameters: int
    multiply_adds: int


def stages(model: keras.Model, size: Sequence[int]) -> list[Stage]:
    """Count parameters and multiply-adds by part and stride.

    Args:
        model: A functional model of `(batch, height, width, 3)`; nested ones are looked into.
        size: Height and width of an image, at least `LEAST_SIDE`.

    Returns:
        Parts in the order of the model, strides ascending; layers without a map (image pooling,
        gates) last.

    Example:
        >>> model = models.build(
        ...     "deeplab_v3", backbone="mobilenet_v2", num_classes=21, output_stride=8)
        >>> found = models.summary.stages(model, (513, 513))
        >>> [stage.rates for stage in found if (stage.part, stage.stride) == ("backbone", 8)]
        [(1, 2, 4)]
        >>> sum(stage.parameters for stage in found) == model.count_params()
        True
    """
    groups: dict[tuple[str, int | None], list[Layer]] = {}
    for layer in _layers(model, size):
        groups.setdefault((layer.part, layer.stride), []).append(layer)
    parts = list(dict.fromkeys(part for part, _ in groups))
    keys = sorted(groups, key=lambda key: (parts.index(key[0]), key[1] or math.inf))
    return [
        Stage(
            part,
            stride,
            tuple(sorted({rate for layer in groups[part, stride] for rate in layer.rates})),
            sum(layer.parameters for layer in groups[part, stride]),
            sum(layer.multiply_adds for layer in groups[part, stride]),
        )
        for part, stride in keys
    ]


def summary_table(model: keras.Model, size: Sequence[int], title: str) -> str:
    """Return `stages` as a table to print.

    Args:
        model: See `stages`.
        size: Height and width of an image.
        title: What stands above.

    Returns:
        Lines of text, with the sums at the end.
    """
    import rich.console  # imported here so that building a network does not need it
    import rich.table

    found = stages(model, size)
    table = rich.table.Table(title=title)
    for name in ("part", "stride", "rates", "parameters", "multiply-adds"):
        table.add_column(name, justify="left" if name == "part" else "right")
    for stage in found:
        rates = ", ".join(map(str, stage.rates))
        stride = "-" if stage.stride is None else str(stage.stride)
        table.add_row(stage.part, stride, rates, *_counts([stage]))
    table.add_section()
    table.add_row("all", "", "", *_counts(found))
    console = rich.console.Console(file=io.StringIO(), width=100)
    console.print(table)
    return console.file.getvalue().rstrip()


def _counts(found: list[Stage]) -> tuple[str, str]:
    parameters = sum(stage.parameters for stage in found)
    multiply_adds = sum(stage.multiply_adds for stage in found)
    return f"{parameters / 1e6:.2f} M", f"{multiply_adds / 1e9:.2f} G"


def _layers(model: keras.Model, size: Sequence[int]) -> list[Layer]:
    height, _ = size
    found: list[Layer] = []
    parts: list[str] = []  # names of the nested models around a layer, the innermost last

    def copy_layer(layer: Any) -> Any:
        nested = not isinstance(layer, keras.layers.Layer) or isinstance(layer, keras.Model)
        return layer if nested else type(layer).from_config(layer.get_config())

    def count(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.Model):
            parts.append(layer.name)
            copied = copy_model(layer, args[0].shape)
            parts.pop()
            return copied(args[0])
        outputs = layer(*args, **kwargs)
        if isinstance(layer, keras.layers.Layer) and layer.weights:
            before, after = args[0].shape, outputs.shape
            # A single cell stands for the whole image: it belongs to a gate or to image pooling.
            is_map = math.prod(after[1:-1]) > 1
            found.append(
                Layer(
                    parts[0] if parts else layer.name.split("_")[0],
                    2 ** round(math.log2(height / after[1])) if is_map else None,
                    _rates(layer),
                    layer.count_params(),
                    _multiply_adds(layer, before, after),
                )
            )
        return outputs

    def copy_model(model: keras.Model, shape: tuple[int, ...]) -> keras.Model:
        """Copy a model with known shapes, and count its layers on the way."""
        inputs = x = keras.Input(batch_shape=shape)
        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                x = count(copy_layer(layer), x)
            return keras.Model(inputs, x)
        return keras.models.clone_model(
            model, inputs, clone_function=copy_layer, call_function=count
        )

    copy_model(model, (1, *size, 3))
    return found


def _rates(layer: keras.layers.Layer) -> tuple[int, ...]:
    sides = getattr(layer, "kernel_size", (1,))
    return (layer.dilation_rate[0],) if max(sides) > 1 else ()


def _multiply_adds(layer: keras.layers.Layer, before: tuple, after: tuple) -> int:
    """Count the taps of the kernels at all cells; biases and layers without a kernel are free."""
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(before[1:3]) * math.prod(layer.kernel.shape)
    cells = math.prod(after[1:-1])
    if isinstance(layer, keras.layers.SeparableConv2D):
        kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
        return cells * sum(math.prod(kernel.shape) for kernel in kernels)
    if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)):
        # The kernel of a grouped convolution has the input channels of one group only.
        return cells * math.prod(layer.kernel.shape)
    return 0
