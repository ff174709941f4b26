"""Ids and colors of label maps: the one place that says what an ignored pixel is called."""

import itertools
from collections.abc import Sequence

import numpy as np

Color = tuple[int, int, int]

# The id of an ignored pixel once labels are read, whatever it is in the files.
IGNORED = 255


def color_table(colors: Sequence[Color], ignored_color: Color) -> np.ndarray:
    """Return the RGB of 256 ids, uint8 `[256, 3]`: the classes', and last the ignored one's.

    Between them lie colors that differ from these and from each other: no two indices of a palette
    may look alike.

    Args:
        colors: RGB of each class, at most 255.
        ignored_color: RGB of what is ignored.
    """
    used = {*map(tuple, colors), tuple(ignored_color)}
    others = (color for color in itertools.product(range(256), repeat=3) if color not in used)
    unused = itertools.islice(others, IGNORED - len(colors))
    return np.array([*colors, *unused, ignored_color], np.uint8)
