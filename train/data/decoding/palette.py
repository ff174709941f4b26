"""Ids and colours of label maps: the one place that says what an ignored pixel is called."""

import itertools
from collections.abc import Sequence

import numpy as np

Colour = tuple[int, int, int]

# What an ignored pixel is called once labels are read, whatever the files call it.
IGNORED = 255


def colour_table(colours: Sequence[Colour], ignored_colour: Colour) -> np.ndarray:
    """RGB of each of 256 ids, uint8 `[256, 3]`: the classes', and last the ignored one's.

    Between them lie colours that differ from these and from each other: no two indices of a palette
    may look alike.

    Args:
        colours: RGB of each class, at most 255.
        ignored_colour: RGB of what is ignored.
    """
    used = {*map(tuple, colours), tuple(ignored_colour)}
    others = (colour for colour in itertools.product(range(256), repeat=3) if colour not in used)
    unused = itertools.islice(others, IGNORED - len(colours))
    return np.array([*colours, *unused, ignored_colour], np.uint8)
