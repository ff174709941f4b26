"""Converts the layers of a network one by one: strides turn into dilation."""

import dataclasses
from typing import Any

import keras

from models.dilation.geometry import (
    NO_MAP,
    POOLINGS,
    MapGeometry,
    Window,
    common_geometry,
    window_of,
)
from models.dilation.graph import check_graph, described
from models.dilation.pointwise import check_pointwise
from models.layers.batch_norm import BatchNorm
from models.layers.dilated_pooling import DilatedPooling2D

_WINDOWED = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    *POOLINGS,
)
_GLOBAL_POOLINGS = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


class DilationConverter:
    """Builds the dilated copy of a network, layer by layer, in the order of their calls.

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
        # Keyed by id; each tensor and layer is kept as well, so that no id is used twice.
        self._geometries: dict[int, tuple[keras.KerasTensor, MapGeometry]] = {}
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

    def geometry_of(self, tensor: keras.KerasTensor) -> MapGeometry:
        """Return where a tensor of the copy lies in the image."""
        return self._geometries.get(id(tensor), (None, MapGeometry()))[1]

    def check_end(self, geometry: MapGeometry) -> None:
        """Raise ValueError if a "same" kernel was dilated and the last map does not suit it."""
        if self._moved and not geometry.symmetric:
            raise ValueError(
                'A strided "same" kernel can be dilated only where all strided kernels are '
                f"centered on cells. Received: {described(self._moved[0])}"
            )

    def call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a layer of the copy, or what has to stand in its place."""
        tensors = [x for x in keras.tree.flatten([args, kwargs]) if _is_symbolic(x)]
        if isinstance(layer, keras.Model):
            return self._nested(layer, tensors[0])
        geometry = common_geometry(map(self.geometry_of, tensors))
        if geometry.stride == 0:
            outputs = self._called(layer, *args, **kwargs)
        elif isinstance(layer, _WINDOWED):
            outputs, geometry = self._window(layer, tensors[0], geometry)
        elif isinstance(layer, _GLOBAL_POOLINGS):
            outputs, geometry = layer(self._sparse(layer, tensors[0], geometry)), NO_MAP
        elif isinstance(layer, keras.layers.ZeroPadding2D):
            outputs, geometry = self._padding(layer, tensors[0], geometry)
        else:
            outputs = self._called(layer, *args, **kwargs)
            check_pointwise(layer, args, kwargs, lambda x: self.geometry_of(x).stride > 0)
            geometry = dataclasses.replace(geometry, unpadded=None)
        for output in keras.tree.flatten(outputs):
            self._geometries[id(output)] = (output, geometry)
            if geometry.stride > 1 and not geometry.unpadded:
                self.levels[min(geometry.stride, self.output_stride)] = output
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
            # The names of outputs are those of the original; the copy's may differ.
            if id(layer) in self._originals:
                outputs[self._originals[id(layer)][1].name] = outputs[layer.name]
            return outputs[layer.name]

        def copy(layer: Any) -> Any:
            return self.copy(layer, model.name)

        # Cloning calls the layers in the right order; the clone itself is not needed.
        keras.models.clone_model(model, x, clone_function=copy, call_function=call)
        return outputs[model.output_names[0]]

    def _rate(self, geometry: MapGeometry) -> int:
        return max(1, geometry.stride // self.output_stride)

    def _sparse(
        self, layer: keras.layers.Layer, x: keras.KerasTensor, geometry: MapGeometry
    ) -> keras.KerasTensor:
        """Return the features that the original network has: it pools over no others."""
        rate = self._rate(geometry)
        if rate == 1:
            return x
        return keras.layers.MaxPooling2D(1, strides=rate, name=f"{layer.name}_sparse")(x)

    def _padding(
        self, layer: keras.layers.ZeroPadding2D, x: keras.KerasTensor, geometry: MapGeometry
    ) -> tuple[keras.KerasTensor, MapGeometry]:
        rows, columns = layer.padding
        if tuple(rows) != tuple(columns):
            raise ValueError(
                "Rows and columns must be padded alike. "
                f"Received: {described(layer)}, padding={layer.padding}"
            )
        padded = geometry.after_padding(x, rows[0])
        rate = self._rate(geometry)
        if rate > 1:
            scaled = tuple(rate * cells for cells in rows)
            layer = self._edit(layer, padding=(scaled, scaled))
        return layer(x), padded

    def _window(
        self, layer: keras.layers.Layer, x: keras.KerasTensor, geometry: MapGeometry
    ) -> tuple[keras.KerasTensor, MapGeometry]:
        window = window_of(layer)
        result = geometry.after_window(window)
        rate = self._rate(geometry)
        if rate == 1 and result.stride <= self.output_stride:
            return self._called(layer, x), result
        self._check_dilatable(layer, window, geometry)
        if geometry.unpadded is not None and window.stride > 1:
            # An unstrided kernel needs more padding at the end to keep the size of the map.
            x, first = geometry.unpadded
            x = _zero_padded(x, first * rate, (window.extent - first) * rate, layer)
            padding = (0, 0)
        elif layer.padding == "same" or (window.extent % 2 and window.stride > 1):
            padding = (window.before * rate, (window.extent - window.before) * rate)
        else:
            padding = (0, 0)
        return self._dilated(layer, window, x, rate, padding), result

    def _check_dilatable(
        self, layer: keras.layers.Layer, window: Window, geometry: MapGeometry
    ) -> None:
        if window.stride == 1:
            return
        if geometry.stride < self.output_stride:
            raise ValueError(
                f"The strides must reach {self.output_stride} before they go on. Received: "
                f"{described(layer)}, from stride {geometry.stride} to "
                f"{geometry.stride * window.stride}"
            )
        if layer.padding == "same" and window.side > 1:
            if geometry.unpadded is not None:
                raise ValueError(
                    "A strided kernel behind ZeroPadding2D can be dilated only if its own padding "
                    f'is "valid". Received: {described(layer)}'
                )
            # The first cell that it looks at depends on the size of the map. Which sizes fit is
            # known only at the end.
            self._moved.append(layer)

    def _dilated(
        self,
        layer: keras.layers.Layer,
        window: Window,
        x: keras.KerasTensor,
        rate: int,
        padding: tuple[int, int],
    ) -> keras.KerasTensor:
        """Call `layer` unstrided, its taps `rate` times as far apart, on a padded map."""
        if window.side == 1:  # no gaps to widen
            return self._called(self._edit(layer, strides=(1, 1)), x)
        if isinstance(layer, POOLINGS):
            kind = "max" if isinstance(layer, keras.layers.MaxPooling2D) else "average"
            return DilatedPooling2D(kind, window.side, rate=rate, padding=padding, name=layer.name)(
                x
            )
        even = padding[0] == padding[1]
        if not even:
            x = _zero_padded(x, *padding, layer)
        dilated = self._edit(
            layer,
            strides=(1, 1),
            dilation_rate=(rate * window.rate,) * 2,
            padding="same" if even and padding[0] else "valid",
        )
        return self._called(dilated, x)


def _is_symbolic(x: Any) -> bool:
    return isinstance(x, keras.KerasTensor)


def _edited(layer: keras.layers.Layer, **edits: Any) -> keras.layers.Layer:
    try:
        return type(layer).from_config({**layer.get_config(), **edits})
    except (ValueError, TypeError, NotImplementedError) as error:
        remedy = (
            "put a layer of your own in its place"
            if isinstance(layer, keras.layers.Lambda)
            else "its class needs a get_config with all arguments of its constructor, which takes "
            "**kwargs for those of keras.layers.Layer"
        )
        reason = " ".join(str(error).split())
        raise ValueError(
            f"The layers of a backbone must be copied: {remedy}. "
            f"Received: {described(layer)} ({reason})"
        ) from None


def _zero_padded(
    x: keras.KerasTensor, before: int, after: int, layer: keras.layers.Layer
) -> keras.KerasTensor:
    padding = ((before, after), (before, after))
    return keras.layers.ZeroPadding2D(padding, name=f"{layer.name}_padding")(x)
