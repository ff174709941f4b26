"""What a fault is."""

from typing import NamedTuple


class Fault(NamedTuple):
    """A text that a file holds once, and what takes its place."""

    path: str
    name: str
    old: str
    new: str
