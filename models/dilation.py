"""Output stride: trade the strides of a classification network for dilation, weights unchanged."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from models.blocks import BatchNorm
from models.layers import DilatedPooling2D

OUTPUT_STRIDES = (8, 16, 32)

_POOLINGS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
_WINDOWS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    *_POOLINGS,
)
_GLOBAL_POOLINGS = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
# Side of the imaginary map that tells whether a layer changes sizes.
_PROBE_SIDE = 64


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where the features lie in the image, and which sides of images fit.

    Attributes:
        corners: True: feature i is centred on pixel margin + i · stride, and sides of
            k · stride + 1 + 2 · margin fit. False: sides of k · stride fit, and the features
            divide the image into equal cells.
        margin: Pixels that unpadded kernels cut off at each border, ≥ 0.
    """

    corners: bool
    margin: int = 0


@dataclasses.dataclass(frozen=True)
class Dilated:
    """A network at an output stride.

    Attributes:
        network: The copy, with the outputs of the original.
        levels: By stride, the last features before the next stride is taken.
        grid: Of the features.
    """

    network: keras.Model
    levels: dict[int, keras.KerasTensor]
    grid: Grid


def check_output_stride(output_stride: int) -> None:
    """Raise ValueError unless `output_stride` is one of `OUTPUT_STRIDES`."""
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f"`output_stride` must be one of {OUTPUT_STRIDES}. "
            f"Received: output_stride={output_stride!r}"
        )


def dilate(backbone: keras.Model, output_stride: int, *, maps: bool = False) -> keras.Model:
    """Return a copy of `backbone`, same weights, whose features have stride `output_stride`.

    Once the product of the strides reaches `output_stride`, every further stride s becomes 1 and
    every kernel behind it, of a convolution or a pooling, is dilated by the strides taken away
    before it. Every `output_stride/32` th feature of the copy is then a feature of the original:

        dilate(b, s)(x)[:, :: 32 // s, :: 32 // s] == b(x)

    for images of sides that fit: multiples of 32 where the strided kernels are unpadded or padded
    by `ZeroPadding2D`. A strided "same" kernel is padded by where its last window ends, so where a
    network has one of more than one tap behind the output stride (Xception, EfficientNetV2,
    EfficientNet-Lite), its maps must have odd sides at every stride: k·32 + 1 pixels, k·32 + 7 for
    Xception, whose first two kernels are unpadded. A global pooling inside the network
    (squeeze-excitation) sees the features that the original has.

    Args:
        backbone: A functional or sequential model of an image, with one output; made of 2-D
            convolutions with square kernels, poolings, and layers that look at one pixel or at all
            of them.
        output_stride: 8, 16 or 32, at most the stride of `backbone`.
        maps: Whether the copy gives its features at every stride, for decoders, instead of the
            last ones alone: a dict with the strides as keys, "2", "4", …, each with the last
            features before the next stride is taken.

    Returns:
        A new functional model with as many weights as `backbone`. Nested models are part of it.

    Raises:
        ValueError: if `output_stride` is not possible, or if a layer has no exact dilated
            counterpart, which is then named.

    Example:
        >>> resnet = keras.applications.ResNet50(
        ...     include_top=False, weights=None, input_shape=(None, None, 3))
        >>> models.dilate(resnet, 8).compute_output_shape((1, 64, 64, 3))
        (1, 8, 8, 2048)
        >>> features = models.dilate(resnet, 8, maps=True)(tf.zeros([1, 64, 64, 3]))
        >>> {stride: tuple(x.shape) for stride, x in features.items()}
        {'2': (1, 32, 32, 64), '4': (1, 16, 16, 256), '8': (1, 8, 8, 2048)}

    Reference:
        Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017,
        section 3.1. No multi-grid rates: the copy stays exact.
    """
    dilated = dilated_copy(backbone, output_stride)
    if not maps:
        return dilated.network
    return keras.Model(
        dilated.network.input, {str(stride): x for stride, x in dilated.levels.items()}
    )


def dilated_copy(
    backbone: keras.Model, output_stride: int, batch_norm: BatchNorm | None = None
) -> Dilated:
    """`dilate`, with all that is learnt on the way.

    Args:
        backbone: See `dilate`.
        output_stride: 8, 16 or 32.
        batch_norm: How batch normalisation trains; its epsilon stays that of the network. None:
            as in the original.

    Returns:
        The copy, its levels, and its grid.

    Raises:
        ValueError: see `dilate`.
    """
    check_output_stride(output_stride)
    _check_functional(backbone)
    # Sequential ones, and those of lists of one tensor, as one kind.
    backbone = keras.Model(backbone.inputs[0], backbone.outputs[0], name=backbone.name)
    walk = _Walk(output_stride, batch_norm)
    # Of any size, whatever the original was made for.
    images = keras.Input((None, None, backbone.input_shape[-1]), name="images")
    network = keras.models.clone_model(
        backbone, images, clone_function=walk.copy, call_function=walk.call
    )
    place = walk.place_of(network.output)
    if place.stride == 0 or len(network.output.shape) != 4:
        raise ValueError(
            "`backbone` must end in a map `(batch, height, width, channels)`, without a classifier "
            f"(include_top=False). Received: a model with output shape {backbone.output_shape}"
        )
    if place.stride < output_stride:
        raise ValueError(
            f"`output_stride` must be at most that of the backbone, {place.stride}. "
            f"Received: output_stride={output_stride}"
        )
    for layer in _leaves(backbone):
        if layer.weights:
            network.get_layer(layer.name).set_weights(layer.get_weights())
    levels = {**walk.levels, output_stride: network.output}
    return Dilated(network, dict(sorted(levels.items())), _grid(place))


def _check_functional(backbone: keras.Model) -> None:
    inputs, outputs = (getattr(backbone, name, None) or [] for name in ("inputs", "outputs"))
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4:
        raise ValueError(
            "`backbone` must be a functional or sequential model from an image `(batch, height, "
            "width, channels)` to one output. Received: "
            f"{type(backbone).__name__} with {len(inputs)} inputs, {len(outputs)} outputs"
        )


def _leaves(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield from _leaves(layer) if isinstance(layer, keras.Model) else [layer]


@dataclasses.dataclass(frozen=True)
class _Place:
    """How a map lies in the image.

    Attributes:
        stride: Of the original network, in pixels. 0: the tensor is no map.
        offset: Pixel that the first feature is centred on.
        symmetric: Whether all strided windows so far were centred on features.
        unpadded: The map before the `ZeroPadding2D` that gave this one, and the cells put before.
    """

    stride: int = 1
    offset: float = 0.0
    symmetric: bool = True
    unpadded: tuple[keras.KerasTensor, int] | None = None


_NO_MAP = _Place(stride=0)


def _grid(place: _Place) -> Grid:
    if not place.symmetric or place.offset < 0:
        return Grid(corners=False)
    return Grid(corners=True, margin=int(place.offset))


class _Walk:
    """Goes through a network once and builds its copy."""

    def __init__(self, output_stride: int, batch_norm: BatchNorm | None) -> None:
        self.output_stride = output_stride
        self.batch_norm = batch_norm
        self.levels: dict[int, keras.KerasTensor] = {}
        # By id; the tensors are kept so that no id is used twice.
        self._places: dict[int, tuple[keras.KerasTensor, _Place]] = {}
        self._changed: set[str] = set()

    def copy(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        """Copy a layer without its weights; a nested model is copied when it is called."""
        if not isinstance(layer, keras.layers.Layer) or isinstance(layer, keras.Model):
            return layer
        if self.batch_norm and isinstance(layer, keras.layers.BatchNormalization):
            return self.batch_norm.layer(**layer.get_config())
        return _edited(layer)

    def place_of(self, tensor: keras.KerasTensor) -> _Place:
        """Where a tensor of the copy lies in the image."""
        return self._places.get(id(tensor), (None, _Place()))[1]

    def call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a layer of the copy, or what has to stand in its place."""
        if isinstance(layer, keras.Model):
            return self._nested(layer, args[0])
        place = self._common_place([*args, *kwargs.values()])
        if place.stride == 0:
            outputs = layer(*args, **kwargs)
        elif isinstance(layer, _WINDOWS):
            outputs, place = self._window(layer, args[0], place)
        elif isinstance(layer, _GLOBAL_POOLINGS):
            outputs, place = layer(self._sparse(layer, args[0], place)), _NO_MAP
        elif isinstance(layer, keras.layers.ZeroPadding2D):
            outputs, place = self._padding(layer, args[0], place)
        else:
            outputs = self._pointwise(layer, args, kwargs)
            place = dataclasses.replace(place, unpadded=None)
        for output in keras.tree.flatten(outputs):
            self._places[id(output)] = (output, place)
            if place.stride > 1 and not place.unpadded:
                self.levels[min(place.stride, self.output_stride)] = output
        return outputs

    def _nested(self, model: keras.Model, x: keras.KerasTensor) -> keras.KerasTensor:
        """Call the layers of a model inside the model."""
        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                x = self.call(self.copy(layer), x)
            return x
        outputs = {}

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            outputs[layer.name] = self.call(layer, *args, **kwargs)
            return outputs[layer.name]

        # For the walk through its layers; the model that comes of it is not needed.
        keras.models.clone_model(model, x, clone_function=self.copy, call_function=call)
        return outputs[model.output_names[0]]

    def _common_place(self, arguments: list[Any]) -> _Place:
        """Of the maps among a layer's inputs; numbers beside them (gates, scales) have none."""
        tensors = [x for x in keras.tree.flatten(arguments) if isinstance(x, keras.KerasTensor)]
        return max((self.place_of(x) for x in tensors), key=lambda place: place.stride)

    def _rate(self, place: _Place) -> int:
        return max(1, place.stride // self.output_stride)

    def _pointwise(self, layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        outputs = layer(*args, **kwargs)
        if isinstance(layer, keras.layers.Layer) and _changes_size(layer, args[0]):
            raise ValueError(
                "Only convolutions, poolings and ZeroPadding2D may change the size of a map. "
                f"Received: layer={layer.name!r} ({type(layer).__name__})"
            )
        return outputs

    def _sparse(
        self, layer: keras.layers.Layer, x: keras.KerasTensor, place: _Place
    ) -> keras.KerasTensor:
        """The features that the original network has, which are what it pools."""
        rate = self._rate(place)
        if rate == 1:
            return x
        return keras.layers.MaxPooling2D(1, strides=rate, name=f"{layer.name}_sparse")(x)

    def _padding(
        self, layer: keras.layers.ZeroPadding2D, x: keras.KerasTensor, place: _Place
    ) -> tuple[keras.KerasTensor, _Place]:
        rows, columns = layer.padding
        if tuple(rows) != tuple(columns):
            raise ValueError(
                "Rows and columns must be padded alike. "
                f"Received: layer={layer.name!r}, padding={layer.padding}"
            )
        offset = place.offset - rows[0] * place.stride
        padded = dataclasses.replace(place, offset=offset, unpadded=(x, rows[0]))
        rate = self._rate(place)
        if rate > 1:
            scaled = tuple(rate * cells for cells in rows)
            layer = _edited(layer, padding=(scaled, scaled))
        return layer(x), padded

    def _window(
        self, layer: keras.layers.Layer, x: keras.KerasTensor, place: _Place
    ) -> tuple[keras.KerasTensor, _Place]:
        side, stride = _square(layer)
        before = _cells_before(layer, side, stride)
        centred = place.unpadded is None or place.unpadded[1] == side // 2
        result = _Place(
            stride=place.stride * stride,
            offset=place.offset + place.stride * ((side - 1) / 2 - before),
            symmetric=place.symmetric and (stride == 1 or (centred and side % 2 == 1)),
        )
        rate = self._rate(place)
        if rate == 1 and result.stride <= self.output_stride:
            return layer(x), result
        self._check_dilatable(layer, stride, place, result)
        if place.unpadded is not None and stride > 1:
            # Unstrided, the kernel wants more padding behind: as much as keeps the size.
            x, first = place.unpadded
            x = _zero_padded(x, first * rate, (side - 1 - first) * rate, layer)
            padding = (0, 0)
        elif layer.padding == "same" or (side % 2 == 0 and stride > 1):
            padding = (before * rate, (side - 1 - before) * rate)
        else:
            padding = (0, 0)
        return _dilated(layer, x, rate, padding), result

    def _check_dilatable(
        self, layer: keras.layers.Layer, stride: int, place: _Place, result: _Place
    ) -> None:
        name = f"layer={layer.name!r} ({type(layer).__name__})"
        if stride > 1 and place.stride < self.output_stride:
            raise ValueError(
                f"The strides must reach {self.output_stride} before they go on. Received: {name}, "
                f"from stride {place.stride} to {result.stride}"
            )
        if layer.name in self._changed:
            raise ValueError(f"A layer that is dilated must be called only once. Received: {name}")
        self._changed.add(layer.name)
        moves = layer.padding == "same" and stride > 1 and _square(layer)[0] > 1
        if moves and not result.symmetric:
            # The network wants even sides elsewhere, at which this kernel starts at another cell.
            raise ValueError(
                'A strided "same" kernel can be dilated only where all strided kernels are centred '
                f"on cells. Received: {name}"
            )


def _edited(layer: keras.layers.Layer, **edits: Any) -> keras.layers.Layer:
    return type(layer).from_config({**layer.get_config(), **edits})


def _changes_size(layer: keras.layers.Layer, x: Any) -> bool:
    if not isinstance(x, keras.KerasTensor) or len(x.shape) != 4:
        return False
    probe = keras.KerasTensor((1, _PROBE_SIDE, _PROBE_SIDE, x.shape[-1]), x.dtype)
    return tuple(layer.compute_output_spec(probe).shape[:3]) != probe.shape[:3]


def _square(layer: keras.layers.Layer) -> tuple[int, int]:
    """Side and stride of a window."""
    sides = layer.pool_size if isinstance(layer, _POOLINGS) else layer.kernel_size
    if len({*sides}) > 1 or len({*layer.strides}) > 1:
        raise ValueError(
            "Kernels and strides must be square. "
            f"Received: layer={layer.name!r}, side={tuple(sides)}, strides={tuple(layer.strides)}"
        )
    return sides[0], layer.strides[0]


def _cells_before(layer: keras.layers.Layer, side: int, stride: int) -> int:
    """Cells of a layer's own padding before its first window, on maps of the fitting sizes."""
    if layer.padding == "valid":
        return 0
    return (side - 1) // 2 if side % 2 else max(side - stride, 0) // 2


def _zero_padded(
    x: keras.KerasTensor, before: int, after: int, layer: keras.layers.Layer
) -> keras.KerasTensor:
    padding = ((before, after), (before, after))
    return keras.layers.ZeroPadding2D(padding, name=f"{layer.name}_padding")(x)


def _dilated(
    layer: keras.layers.Layer, x: keras.KerasTensor, rate: int, padding: tuple[int, int]
) -> keras.KerasTensor:
    """Call `layer` unstrided, its taps `rate` cells apart, on a padded map."""
    side, _ = _square(layer)
    if side == 1:  # no gaps to widen
        return _edited(layer, strides=(1, 1))(x)
    if isinstance(layer, _POOLINGS):
        kind = "max" if isinstance(layer, keras.layers.MaxPooling2D) else "average"
        return DilatedPooling2D(kind, side, rate=rate, padding=padding, name=layer.name)(x)
    symmetric = padding[0] == padding[1]
    if not symmetric:
        x = _zero_padded(x, *padding, layer)
    return _edited(
        layer,
        strides=(1, 1),
        dilation_rate=(rate, rate),
        padding="same" if symmetric and padding[0] else "valid",
    )(x)
