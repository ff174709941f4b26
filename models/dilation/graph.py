"""Which graphs of layers can be dilated, and how errors name a layer."""

from typing import Any

import keras


def check_graph(model: keras.Model) -> None:
    """Raise ValueError unless a model is a graph of layers from one map to one output."""
    inputs, outputs = (getattr(model, name, None) or [] for name in ("inputs", "outputs"))
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4:
        raise ValueError(
            "`backbone` and the models in it must be functional or sequential, from an image "
            "`(batch, height, width, channels)` to one output. Received: "
            f"{model.name!r} ({type(model).__name__}), {len(inputs)} inputs, {len(outputs)} outputs"
        )


def described(layer: Any) -> str:
    """Return a layer's name and class, for an error."""
    return f"layer={layer.name!r} ({type(layer).__name__})"
