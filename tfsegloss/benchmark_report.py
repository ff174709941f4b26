"""What the benchmark shows: a table, numbers and a picture, from what was measured."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from tfsegloss.benchmark_measure import Growth, Timing

COLUMNS = (
    "loss",
    "plain ×",
    "compiled ×",
    "plain ms",
    "compiled ms",
    "memory ×",
    "exp. pixels",
    "exp. classes",
    "first plain s",
    "first compiled s",
)
SKIPPED = "-"


@dataclass(frozen=True)
class Row:
    """All that was measured of one loss; None where it was skipped."""

    loss: str
    plain: Timing
    compiled: Timing
    memory: float | str | None = None  # multiple of the logits' size, or that it failed
    pixels: Growth | None = None
    classes: Growth | None = None


def cells(row: Row) -> list[str]:
    """A row of the table as text, one entry for each of `COLUMNS`."""
    growths = [SKIPPED if g is None else f"{g.exponent:.2f}" for g in (row.pixels, row.classes)]
    if row.memory is None:
        memory = SKIPPED
    else:
        memory = row.memory if isinstance(row.memory, str) else f"{row.memory:.2f}"
    return [
        row.loss,
        f"{row.plain.ratio:.2f}",
        f"{row.compiled.ratio:.2f}",
        f"{1000 * row.plain.median_seconds:.1f}",
        f"{1000 * row.compiled.median_seconds:.1f}",
        memory,
        *growths,
        f"{row.plain.first_call_seconds:.1f}",
        f"{row.compiled.first_call_seconds:.1f}",
    ]


def table(lines: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right.

    Args:
        lines: Of as many entries each.

    Returns:
        A line of text for each, no blanks at its end.

    Example:

    >>> print(table([["loss", "ms"], ["a", "10.5"]]))
    loss    ms
    a     10.5
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def text(line):
        first, *others = zip(line, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in others)]).rstrip()

    return "\n".join(map(text, lines))


def picture(rows: Sequence[Row], title: str) -> bytes:
    """Bars of the two ratios of every loss, and curves of growth where they were measured.

    Args:
        rows: As in the table.
        title: One or two lines.

    Returns:
        A PNG.
    """
    from matplotlib.figure import Figure

    grown = any(row.pixels for row in rows)
    height = max(5, 0.45 * len(rows) + 2)
    figure = Figure(figsize=(15 if grown else 8, height), layout="constrained")
    figure.suptitle(title, fontsize=10)
    if not grown:
        _bars(figure.subplots(), rows)
    else:
        bars, pixels, classes = figure.subplots(1, 3, width_ratios=[1.3, 1, 1])
        _bars(bars, rows)
        _curves(pixels, [(row.loss, row.pixels) for row in rows], "pixels of an image")
        _curves(classes, [(row.loss, row.classes) for row in rows], "classes")
        handles, names = pixels.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right center", fontsize=8, frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def _bars(axes, rows: Sequence[Row]) -> None:
    places = range(len(rows))
    for mode, shift, color in (("plain", -0.2, "#4477aa"), ("compiled", 0.2, "#ee7733")):
        ratios = [getattr(row, mode).ratio for row in rows]
        bars = axes.barh([y + shift for y in places], ratios, height=0.38, color=color, label=mode)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # over the line at 1
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=7, bbox=box)
    axes.axvline(1, color="black", linewidth=1, linestyle="--")
    axes.set_yticks(places, [row.loss for row in rows], fontsize=8)
    axes.invert_yaxis()  # the first row above, as in the table
    axes.margins(x=0.12, y=0.01)
    axes.set_xlabel("time ÷ Keras' cross-entropy in a plain tf.function")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", fontsize=8)


def _curves(axes, growths: Sequence[tuple[str, Growth]], label: str) -> None:
    from matplotlib import colormaps

    colors = colormaps["tab20"].colors
    for i, (loss, growth) in enumerate(growths):
        axes.loglog(
            growth.sizes,
            [1000 * seconds for seconds in growth.seconds],
            color="black" if i == 0 else colors[(2 * i - 2) % 20 + (i > 10)],
            linestyle="--" if i == 0 else "-",
            marker="os^Dv"[i % 5],
            markersize=4,
            linewidth=1.2,
            label=loss,
        )
    sizes = growths[0][1].sizes
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7)
    axes.set_xticks([], minor=True)
    axes.set_xlabel(label)
    axes.set_ylabel("ms, plain tf.function")
    axes.grid(alpha=0.3)
