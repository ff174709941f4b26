"""Names of layers: they tell networks apart whose weights have the same shapes and order."""

import re
from collections.abc import Iterable

import keras

# Keras numbers the layers that were given no name, on and on while a process lives.
_NUMBER = re.compile(r"_\d+$")


def layers_of(paths: Iterable[str]) -> set[str]:
    """Return the layers that weights' paths name: "kernel" alone names none.

    Example:
        >>> sorted(layers_of(["backbone/conv1/kernel:0", "logits/bias", "kernel"]))
        ['conv1', 'logits']
    """
    return {path.split("/")[-2] for path in paths if "/" in path}


def other_layers(model: keras.Model, layers: Iterable[str]) -> list[str]:
    """Return the layers that a network lacks, whatever number they end in.

    Args:
        model: The network.
        layers: Names of another network's layers that have weights.

    Example:
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense_7")])
        >>> other_layers(model, ["dense", "logits"])
        ['logits']
    """
    ours = {_NUMBER.sub("", name) for name in layers_of(weight.path for weight in model.weights)}
    return sorted(name for name in set(layers) if _NUMBER.sub("", name) not in ours)
