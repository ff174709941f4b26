"""What `python -m train sampling` shows: how often crops are centered on each class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def frequency_table(class_names: Sequence[str], uniform: np.ndarray, drawn: np.ndarray) -> Table:
    """Return a row per class, the rarest first."""
    sheet = Table(title="crops centered on a class, %")
    sheet.add_column("class")
    for heading in ("uniform", "by class", "times"):
        sheet.add_column(heading, justify="right")
    for i in np.argsort(uniform):
        times = f"{drawn[i] / uniform[i]:.1f}" if uniform[i] else "never"
        sheet.add_row(
            escape(class_names[i]), f"{100 * uniform[i]:.2f}", f"{100 * drawn[i]:.2f}", times
        )
    return sheet


def frequency_plot(
    class_names: Sequence[str], uniform: np.ndarray, drawn: np.ndarray, names: Sequence[str]
) -> "Figure":
    """Draw bars of both frequencies by class, the rarest first.

    Args:
        class_names: Names of the classes.
        uniform: Their frequencies before, float `[C]`.
        drawn: Their frequencies after, float `[C]`.
        names: What the two are called.
    """
    from matplotlib.figure import Figure

    order = np.argsort(uniform)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(order))
    for shift, frequencies, name in zip((-0.2, 0.2), (uniform, drawn), names, strict=True):
        bars = axes.bar(places + shift, 100 * frequencies[order], 0.4, label=name)
        axes.bar_label(bars, fmt="%.2g", fontsize=7)
    axes.set_xticks(places, [class_names[i] for i in order], rotation=30, ha="right")
    axes.set_ylabel("crops centered on the class, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
