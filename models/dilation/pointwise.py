"""Finds out whether a layer looks at one cell alone."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from models.dilation.graph import described

# Layers known to look at one cell alone; all others are tried out.
_POINTWISE = (
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.Dropout,
    keras.layers.Multiply,
    keras.layers.ReLU,
)
# Side of the map that a layer is tried on, and how much rounding may change a cell of it.
_PROBE_SIDE = 5
_TOLERANCE = 1e-3


def check_pointwise(
    layer: Any, args: tuple, kwargs: dict[str, Any], is_map: Callable[[Any], bool]
) -> None:
    """Find out whether a cell of the output depends on that cell of the inputs alone.

    Args:
        layer: A built layer, or an operation.
        args: What it is called with, tensors symbolic.
        kwargs: The same by name.
        is_map: Tells of a symbolic tensor whether it lies in the image.

    Raises:
        ValueError: It looks at other cells, or changes the size of a map.
    """
    if isinstance(layer, _POINTWISE):
        return
    random = np.random.default_rng(0)
    middle = np.zeros((1, _PROBE_SIDE, _PROBE_SIDE, 1))
    middle[:, _PROBE_SIDE // 2, _PROBE_SIDE // 2] = 1

    def probe(x: Any) -> Any:
        """Two copies of a map, which differ in one cell; two of what is no map."""
        if not isinstance(x, keras.KerasTensor):
            return x
        shape = [1, *(1 if side is None else side for side in x.shape[1:])]
        changes = is_map(x) and len(shape) == 4
        if changes:
            shape[1:3] = middle.shape[1:3]
        values = random.uniform(size=shape)
        changed = values + middle if changes else values
        return keras.ops.cast(np.concatenate([values, changed]), x.dtype)

    args, kwargs = keras.tree.map_structure(probe, (args, kwargs))
    for output in keras.tree.flatten(layer(*args, **kwargs)):
        before, after = keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))
        if before.ndim != 3 or before.shape[:2] != middle.shape[1:3]:
            raise ValueError(
                "Only convolutions, poolings and ZeroPadding2D may change the size of a map. "
                f"Received: {described(layer)}"
            )
        if np.abs((after - before) * (1 - middle)).max() > _TOLERANCE * np.abs(before).max():
            raise ValueError(
                "Only convolutions and poolings, global ones among them, may look at more than "
                f"one cell. Received: {described(layer)}"
            )
