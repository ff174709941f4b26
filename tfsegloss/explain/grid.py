"""Figures, and where in them the pictures of a grid are.

matplotlib is imported where something is drawn, without its state and without a display.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfsegloss.core.command_line import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

DPI = 100
GRAY = "0.8"  # ignored pixels
# Where in a column its picture and its color bar are; the rest is for the bar's numbers.
LEFT, RIGHT, BAR_START, BAR_END = 0.04, 0.79, 0.805, 0.835
LEGEND_LINES = 8
LEGEND_STYLE = {"frameon": False, "handlelength": 1, "handleheight": 1, "columnspacing": 1.2}


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure, its size in inches.

    Raises:
        ModuleNotFoundError: matplotlib is missing.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI)


class Grid:
    """Columns of equal pictures in a figure, placed in inches from its top.

    Args:
        figure: To be filled.
        columns: How many.
        height: Of a picture.
    """

    def __init__(self, figure: "Figure", columns: int, height: float):
        self.figure = figure
        self.column = 1 / columns
        self.height = height

    def heading(self, y: float, text: str) -> None:
        """Write the name of a row, above a line across the figure."""
        y = 1 - y / self.figure.get_figheight()
        self.figure.text(0.01, y, text, fontsize=12, weight="bold")

    def legend(self, column: int, top: float, names: Sequence[str], colors: np.ndarray) -> None:
        """Show names and colors of the classes."""
        from matplotlib.patches import Patch

        axes = self._axes(column, LEFT, RIGHT, top)
        axes.set_axis_off()
        patches = [Patch(color=c, label=n) for n, c in zip(names, colors, strict=False)]
        patches.append(Patch(color=GRAY, label="ignored"))
        axes.legend(
            handles=patches,
            loc="upper left",
            bbox_to_anchor=(0, 1),
            ncols=math.ceil(len(patches) / LEGEND_LINES),
            fontsize=9,
            borderaxespad=0,
            **LEGEND_STYLE,
        )

    def picture(self, column: int, top: float, title: str, pixels: np.ndarray, **options) -> "Axes":
        """Show a picture without axes, below its title."""
        axes = self._axes(column, LEFT, RIGHT, top)
        axes.imshow(pixels, interpolation="nearest", aspect="auto", **options)
        axes.set_title(title, fontsize=9.5, loc="left")
        axes.set(xticks=[], yticks=[])
        return axes

    def bar(self, column: int, top: float, image: "ScalarMappable") -> "Colorbar":
        """Draw the color bar of a picture, beside it."""
        beside = self._axes(column, BAR_START, BAR_END, top)
        beside.tick_params(labelsize=8)
        return self.figure.colorbar(image, cax=beside)

    def _axes(self, column: int, start: float, end: float, top: float) -> "Axes":
        total = self.figure.get_figheight()
        x, width = (column + start) * self.column, (end - start) * self.column
        return self.figure.add_axes(
            [x, 1 - (top + self.height) / total, width, self.height / total]
        )
