"""Where the maps of a network lie in the image, and how windows move over them."""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import keras

from models.dilation.graph import described

POOLINGS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


class Window(NamedTuple):
    """A kernel or a pool on its way over a map; everything counts cells.

    Attributes:
        side: Taps along each side.
        stride: From one position to the next.
        rate: From one tap to the next.
        before: Padding of the layer's own above and to the left, on maps of the fitting sizes.
    """

    side: int
    stride: int
    rate: int
    before: int

    @property
    def extent(self) -> int:
        """How far the last tap is from the first."""
        return (self.side - 1) * self.rate


@dataclasses.dataclass(frozen=True)
class MapGeometry:
    """How a map lies in the image.

    Attributes:
        stride: Of the original network, in pixels. 0: the tensor is no map.
        offset: Pixel that the first feature is centered on.
        symmetric: Whether all strided windows so far were centered on features.
        unpadded: The map in front of the `ZeroPadding2D` that gave this one, and how many cells
            were put above and to the left of it.
    """

    stride: int = 1
    offset: float = 0.0
    symmetric: bool = True
    unpadded: tuple[keras.KerasTensor, int] | None = None

    def after_window(self, window: Window) -> "MapGeometry":
        """Return the geometry of what a window makes of the map."""
        half = window.extent / 2
        centered = half % 1 == 0 and (self.unpadded is None or self.unpadded[1] == half)
        return MapGeometry(
            stride=self.stride * window.stride,
            offset=self.offset + self.stride * (half - window.before),
            symmetric=self.symmetric and (window.stride == 1 or centered),
        )

    def after_padding(self, x: keras.KerasTensor, cells: int) -> "MapGeometry":
        """Return the geometry of the map `x` with `cells` of zeros above and to the left."""
        offset = self.offset - cells * self.stride
        return dataclasses.replace(self, offset=offset, unpadded=(x, cells))


NO_MAP = MapGeometry(stride=0)


def common_geometry(geometries: Iterable[MapGeometry]) -> MapGeometry:
    """Return the geometry of what a layer makes of several inputs.

    The coarsest maps decide; numbers beside them (gates, scales) lie nowhere in the image.
    """
    first, *others = sorted(geometries, key=lambda geometry: -geometry.stride)
    same = [geometry for geometry in others if geometry.stride == first.stride]
    symmetric = all(
        geometry.symmetric and geometry.offset == first.offset for geometry in (first, *same)
    )
    return dataclasses.replace(first, symmetric=symmetric)


def window_of(layer: keras.layers.Layer) -> Window:
    """Describe the window of a convolution or a pooling.

    Raises:
        ValueError: It is not the same along rows and columns.
    """
    sides = layer.pool_size if isinstance(layer, POOLINGS) else layer.kernel_size
    rates = getattr(layer, "dilation_rate", (1, 1))
    if any(len({*pair}) > 1 for pair in (sides, layer.strides, rates)):
        raise ValueError(
            "Kernels, strides and dilation must be square. "
            f"Received: {described(layer)}, side={tuple(sides)}, strides={tuple(layer.strides)}"
        )
    window = Window(sides[0], layer.strides[0], rates[0], before=0)
    if layer.padding == "valid":
        return window
    extent = window.extent
    # Even windows fit maps whose sides the stride divides, odd ones maps with a cell more. There
    # TensorFlow's "same" adds side - stride and side - 1 cells, the smaller half of them before.
    before = max(extent + 1 - window.stride, 0) // 2 if extent % 2 else extent // 2
    return window._replace(before=before)
