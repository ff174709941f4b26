"""The walk through a network that turns its strides into dilation."""

import dataclasses
from typing import Any

import keras

from models.dilation.pointwise import check_pointwise, described
from models.layers.blocks import BatchNorm
from models.layers.layers import DilatedPooling2D

_POOLINGS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
_WINDOWS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    *_POOLINGS,
)
_GLOBAL_POOLINGS = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


@dataclasses.dataclass(frozen=True)
class MapGeometry:
    """How a map lies in the image.

    Attributes:
        stride: Of the original network, in pixels. 0: the tensor is no map.
        offset: Pixel that the first feature is centered on.
        symmetric: Whether all strided windows so far were centered on features.
        unpadded: The map before the `ZeroPadding2D` that gave this one, and the cells put before.
    """

    stride: int = 1
    offset: float = 0.0
    symmetric: bool = True
    unpadded: tuple[keras.KerasTensor, int] | None = None


_NO_MAP = MapGeometry(stride=0)


class DilationConverter:
    """Goes through a network once and builds its copy.

    Its `copy` and `call` are what `keras.models.clone_model` takes.

    Attributes:
        levels: By stride, the last features before the next stride is taken.
        pairs: The layers of the original with those of the copy that take their weights.
    """

    def __init__(self, output_stride: int, batch_norm: BatchNorm | None) -> None:
        self.output_stride = output_stride
        self.batch_norm = batch_norm
        self.levels: dict[int, keras.KerasTensor] = {}
        self.pairs: dict[int, tuple[keras.layers.Layer, keras.layers.Layer]] = {}
        # By id; the tensors are kept so that no id is used twice.
        self._places: dict[int, tuple[keras.KerasTensor, MapGeometry]] = {}
        self._originals: dict[int, tuple[keras.layers.Layer, keras.layers.Layer]] = {}
        self._names: set[str] = set()
        self._moved: list[keras.layers.Layer] = []

    def copy(self, layer: Any, prefix: str = "") -> Any:
        """Copy a layer without its weights; a nested model is copied when it is called.

        Args:
            layer: Of the original.
            prefix: Of the copy's name, where another layer has its own.
        """
        if not isinstance(layer, keras.layers.Layer) or isinstance(layer, keras.Model):
            return layer
        name = f"{prefix}_{layer.name}" if layer.name in self._names else layer.name
        self._names.add(name)
        if self.batch_norm and isinstance(layer, keras.layers.BatchNormalization):
            copied = self.batch_norm.like(layer, name)
        else:
            copied = _edited(layer, name=name)
        self._originals[id(copied)] = (copied, layer)
        return copied

    def place_of(self, tensor: keras.KerasTensor) -> MapGeometry:
        """Where a tensor of the copy lies in the image."""
        return self._places.get(id(tensor), (None, MapGeometry()))[1]

    def check_end(self, place: MapGeometry) -> None:
        """Raise ValueError if a kernel was dilated that starts at another cell at fitting sizes.

        Args:
            place: Of the last features.
        """
        if self._moved and not place.symmetric:
            raise ValueError(
                'A strided "same" kernel can be dilated only where all strided kernels are '
                f"centered on cells. Received: {described(self._moved[0])}"
            )

    def call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a layer of the copy, or what has to stand in its place."""
        tensors = [x for x in keras.tree.flatten([args, kwargs]) if _is_symbolic(x)]
        if isinstance(layer, keras.Model):
            return self._nested(layer, tensors[0])
        place = self._common_place(tensors)
        if place.stride == 0:
            outputs = self._called(layer, *args, **kwargs)
        elif isinstance(layer, _WINDOWS):
            outputs, place = self._window(layer, tensors[0], place)
        elif isinstance(layer, _GLOBAL_POOLINGS):
            outputs, place = layer(self._sparse(layer, tensors[0], place)), _NO_MAP
        elif isinstance(layer, keras.layers.ZeroPadding2D):
            outputs, place = self._padding(layer, tensors[0], place)
        else:
            outputs = self._called(layer, *args, **kwargs)
            check_pointwise(layer, args, kwargs, lambda x: self.place_of(x).stride > 0)
            place = dataclasses.replace(place, unpadded=None)
        for output in keras.tree.flatten(outputs):
            self._places[id(output)] = (output, place)
            if place.stride > 1 and not place.unpadded:
                self.levels[min(place.stride, self.output_stride)] = output
        return outputs

    def _called(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a layer, and note that it takes the weights of its original."""
        outputs = layer(*args, **kwargs)
        if id(layer) in self._originals:
            _, original = self._originals[id(layer)]
            if self.pairs.setdefault(id(original), (original, layer))[1] is not layer:
                raise ValueError(
                    "A layer that is dilated, and a model inside of the model, must be called only "
                    f"once. Received: {described(original)}"
                )
        return outputs

    def _edit(self, layer: keras.layers.Layer, **edits: Any) -> keras.layers.Layer:
        edited = _edited(layer, **edits)
        self._originals[id(edited)] = (edited, self._originals[id(layer)][1])
        return edited

    def _nested(self, model: keras.Model, x: keras.KerasTensor) -> keras.KerasTensor:
        """Call the layers of a model inside the model."""
        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                x = self.call(self.copy(layer, model.name), x)
            return x
        check_graph(model)
        outputs = {}

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            outputs[layer.name] = self.call(layer, *args, **kwargs)
            # By the name in the original too, from which the copy's may differ.
            if id(layer) in self._originals:
                outputs[self._originals[id(layer)][1].name] = outputs[layer.name]
            return outputs[layer.name]

        def copy(layer: Any) -> Any:
            return self.copy(layer, model.name)

        # For the walk through its layers; the model that comes of it is not needed.
        keras.models.clone_model(model, x, clone_function=copy, call_function=call)
        return outputs[model.output_names[0]]

    def _common_place(self, tensors: list[keras.KerasTensor]) -> MapGeometry:
        """Of the maps among a layer's inputs; numbers beside them (gates, scales) have none."""
        places = [self.place_of(x) for x in tensors]
        first, *others = sorted(places, key=lambda place: -place.stride)
        same = [place for place in others if place.stride == first.stride]
        symmetric = all(place.symmetric and place.offset == first.offset for place in same)
        return dataclasses.replace(first, symmetric=first.symmetric and symmetric)

    def _rate(self, place: MapGeometry) -> int:
        return max(1, place.stride // self.output_stride)

    def _sparse(
        self, layer: keras.layers.Layer, x: keras.KerasTensor, place: MapGeometry
    ) -> keras.KerasTensor:
        """The features that the original network has, which are what it pools."""
        rate = self._rate(place)
        if rate == 1:
            return x
        return keras.layers.MaxPooling2D(1, strides=rate, name=f"{layer.name}_sparse")(x)

    def _padding(
        self, layer: keras.layers.ZeroPadding2D, x: keras.KerasTensor, place: MapGeometry
    ) -> tuple[keras.KerasTensor, MapGeometry]:
        rows, columns = layer.padding
        if tuple(rows) != tuple(columns):
            raise ValueError(
                "Rows and columns must be padded alike. "
                f"Received: {described(layer)}, padding={layer.padding}"
            )
        offset = place.offset - rows[0] * place.stride
        padded = dataclasses.replace(place, offset=offset, unpadded=(x, rows[0]))
        rate = self._rate(place)
        if rate > 1:
            scaled = tuple(rate * cells for cells in rows)
            layer = self._edit(layer, padding=(scaled, scaled))
        return layer(x), padded

    def _window(
        self, layer: keras.layers.Layer, x: keras.KerasTensor, place: MapGeometry
    ) -> tuple[keras.KerasTensor, MapGeometry]:
        side, stride = _square(layer)
        extent = (side - 1) * _own_rate(layer)  # cells that a window reaches beyond its first
        before = _cells_before(layer, extent, stride)
        centered = extent % 2 == 0 and (place.unpadded is None or place.unpadded[1] == extent // 2)
        result = MapGeometry(
            stride=place.stride * stride,
            offset=place.offset + place.stride * (extent / 2 - before),
            symmetric=place.symmetric and (stride == 1 or centered),
        )
        rate = self._rate(place)
        if rate == 1 and result.stride <= self.output_stride:
            return self._called(layer, x), result
        self._check_dilatable(layer, stride, place, result)
        if place.unpadded is not None and stride > 1:
            # Unstrided, the kernel wants more padding behind: as much as keeps the size.
            x, first = place.unpadded
            x = _zero_padded(x, first * rate, (extent - first) * rate, layer)
            padding = (0, 0)
        elif layer.padding == "same" or (extent % 2 and stride > 1):
            padding = (before * rate, (extent - before) * rate)
        else:
            padding = (0, 0)
        return self._dilated(layer, x, rate, padding), result

    def _check_dilatable(
        self, layer: keras.layers.Layer, stride: int, place: MapGeometry, result: MapGeometry
    ) -> None:
        if stride > 1 and place.stride < self.output_stride:
            raise ValueError(
                f"The strides must reach {self.output_stride} before they go on. "
                f"Received: {described(layer)}, from stride {place.stride} to {result.stride}"
            )
        if layer.padding == "same" and stride > 1 and _square(layer)[0] > 1:
            if place.unpadded is not None:
                raise ValueError(
                    "A strided kernel behind ZeroPadding2D can be dilated only if its own padding "
                    f'is "valid". Received: {described(layer)}'
                )
            # It starts at another cell at other sizes; which sizes fit is known at the end.
            self._moved.append(layer)

    def _dilated(
        self, layer: keras.layers.Layer, x: keras.KerasTensor, rate: int, padding: tuple[int, int]
    ) -> keras.KerasTensor:
        """Call `layer` unstrided, its taps `rate` times as far apart, on a padded map."""
        side, _ = _square(layer)
        if side == 1:  # no gaps to widen
            return self._called(self._edit(layer, strides=(1, 1)), x)
        if isinstance(layer, _POOLINGS):
            kind = "max" if isinstance(layer, keras.layers.MaxPooling2D) else "average"
            return DilatedPooling2D(kind, side, rate=rate, padding=padding, name=layer.name)(x)
        symmetric = padding[0] == padding[1]
        if not symmetric:
            x = _zero_padded(x, *padding, layer)
        dilated = self._edit(
            layer,
            strides=(1, 1),
            dilation_rate=(rate * _own_rate(layer),) * 2,
            padding="same" if symmetric and padding[0] else "valid",
        )
        return self._called(dilated, x)


def check_graph(model: keras.Model) -> None:
    """Raise ValueError unless a model is a graph of layers from one map to one output."""
    inputs, outputs = (getattr(model, name, None) or [] for name in ("inputs", "outputs"))
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4:
        raise ValueError(
            "`backbone` and the models in it must be functional or sequential, from an image "
            "`(batch, height, width, channels)` to one output. Received: "
            f"{model.name!r} ({type(model).__name__}), {len(inputs)} inputs, {len(outputs)} outputs"
        )


def _is_symbolic(x: Any) -> bool:
    return isinstance(x, keras.KerasTensor)


def _edited(layer: keras.layers.Layer, **edits: Any) -> keras.layers.Layer:
    return type(layer).from_config({**layer.get_config(), **edits})


def _square(layer: keras.layers.Layer) -> tuple[int, int]:
    """Side and stride of a window."""
    sides = layer.pool_size if isinstance(layer, _POOLINGS) else layer.kernel_size
    rates = getattr(layer, "dilation_rate", (1, 1))
    if any(len({*pair}) > 1 for pair in (sides, layer.strides, rates)):
        raise ValueError(
            "Kernels, strides and dilation must be square. "
            f"Received: {described(layer)}, side={tuple(sides)}, strides={tuple(layer.strides)}"
        )
    return sides[0], layer.strides[0]


def _own_rate(layer: keras.layers.Layer) -> int:
    return getattr(layer, "dilation_rate", (1, 1))[0]


def _cells_before(layer: keras.layers.Layer, extent: int, stride: int) -> int:
    """Cells of a layer's own padding before its first window, on maps of the fitting sizes."""
    if layer.padding == "valid":
        return 0
    return max(extent + 1 - stride, 0) // 2 if extent % 2 else extent // 2


def _zero_padded(
    x: keras.KerasTensor, before: int, after: int, layer: keras.layers.Layer
) -> keras.KerasTensor:
    padding = ((before, after), (before, after))
    return keras.layers.ZeroPadding2D(padding, name=f"{layer.name}_padding")(x)
