"""Ids and colours of label maps: the one place that says what an ignored pixel is called."""

from collections.abc import Sequence

import numpy as np

Colour = tuple[int, int, int]

# What an ignored pixel is called once labels are read, whatever the files call it.
IGNORED = 255


def colour_table(colours: Sequence[Colour], ignored_colour: Colour) -> np.ndarray:
    """RGB of each of 256 ids, uint8 `[256, 3]`: the classes', black, and last the ignored one's."""
    table = np.zeros([256, 3], np.uint8)
    table[: len(colours)] = colours
    table[IGNORED] = ignored_colour
    return table
