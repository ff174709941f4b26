"""What a fault is."""

from typing import NamedTuple


class Fault(NamedTuple):
    """A text that a file holds once, and what takes its place.

    Attributes:
        keras_2: Whether only Keras 2 comes there: its tests look for the fault, under tf_keras.
    """

    path: str
    name: str
    old: str
    new: str
    keras_2: bool = False
