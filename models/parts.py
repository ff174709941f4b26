"""The parts of a network that a file of weights may hold: what is random is in none."""

from collections.abc import Iterator
from typing import NamedTuple

import keras


class Part(NamedTuple):
    """A part of a network.

    Attributes:
        name: For messages.
        network: Has the weights, which are the whole network's.
    """

    name: str
    network: keras.Model


def parts(model: keras.Model) -> Iterator[Part]:
    """Yield the parts of a network of `build`, the largest first.

    Those behind the first know no number of classes, and the backbone no architecture: their files
    serve all.
    """
    yield Part("the whole network", model)
    classifier = _layer(model, "logits")
    if isinstance(classifier, keras.layers.Conv2D):  # DeepLabV2 adds those of its branches
        body = keras.Model(model.inputs, classifier.input, name="all_but_logits")
        yield Part("all but the logits", body)
    if (backbone := _layer(model, "backbone")) is not None:
        yield Part("the backbone alone", backbone)


def _layer(model: keras.Model, name: str) -> keras.layers.Layer | None:
    return next((layer for layer in model.layers if layer.name == name), None)
