"""What the benchmark shows: a table, numbers and a picture, from what was measured."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfsegloss.benchmark.measure import (
    CLASSES,
    CLASSES_SIDE,
    FITTED_SIDE,
    SIDES,
    Growth,
    Shape,
    Timing,
)
from tfsegloss.benchmark.memory import Memory

COLUMNS = (
    "loss",
    "plain ×",
    "compiled ×",
    "plain ms",
    "compiled ms",
    "memory ×",
    "+compiling ×",
    "pixels^",
    "classes^",
    "compiling plain +s",
    "compiling compiled +s",
)
LEGEND = f"""\
A step is a loss and its gradient by the logits; its time is the median of the rounds.
  plain          in a tf.function, as Keras' `fit` runs it on a CPU and under tf.distribute
  compiled       in a tf.function(jit_compile=True), as `fit` runs it on one GPU
  plain ×, compiled ×   time ÷ that of Keras' sparse cross-entropy, plain
  memory ×       peak memory of plain steps over the inputs and the gradient ÷ size of the logits
  +compiling ×   the same with the first step in it: over what a process holds after steps of Keras'
                 cross-entropy; compiling takes 100 to 400 MB more, whatever the shape
  pixels^        plain time ~ pixels^this (one image, {FITTED_SIDE}² to {SIDES[-1]}²); 1: linear
  classes^       plain time ~ classes^this ({CLASSES[0]} to {CLASSES[-1]}, {CLASSES_SIDE}² pixels)
  compiling +s   CPU-seconds of the first step, with tracing and compiling, less those of a later
                 one, and less the same of Keras' in the same mode
-: skipped; not measured: why was printed, and is among the numbers"""
SKIPPED, NOT_MEASURED = "-", "not measured"


@dataclass(frozen=True)
class Row:
    """All that was measured of one loss; None where it was skipped, or is not measured yet."""

    loss: str
    plain: Timing
    compiled: Timing
    memory: Memory | None = None
    pixels: Growth | None = None
    classes: Growth | None = None


def title(setup: Mapping, shape: Shape) -> str:
    """Say what ran where, in two lines.

    Args:
        setup: Of `machine.describe`, and "rounds".
        shape: (batch, height, width, classes).

    Returns:
        The lines.
    """
    versions = ", ".join(
        f"{name} {setup[key]}"
        for name, key in (("TensorFlow", "tensorflow"), ("Keras", "keras"), ("Python", "python"))
    )
    logits = "×".join(map(str, shape))
    return (
        f"{versions}; {setup['device']}, {setup['cores']} cores\n"
        f"logits {logits} (batch, height, width, classes), {setup['rounds']} rounds"
    )


def cells(row: Row) -> list[str]:
    """Return a row of the table as text, one entry for each of `COLUMNS`."""
    memory = [SKIPPED] * 2
    if row.memory is not None:
        peaks = (row.memory.steps, row.memory.with_compiling)
        memory = [NOT_MEASURED if peak is None else f"{peak:.2f}" for peak in peaks]
    growths = [SKIPPED if g is None else f"{g.exponent:.2f}" for g in (row.pixels, row.classes)]
    return [
        row.loss,
        f"{row.plain.ratio:.2f}",
        f"{row.compiled.ratio:.2f}",
        f"{1000 * row.plain.median_seconds:.1f}",
        f"{1000 * row.compiled.median_seconds:.1f}",
        *memory,
        *growths,
        f"{row.plain.compile_over_keras:.1f}",
        f"{row.compiled.compile_over_keras:.1f}",
    ]


def table(lines: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, the others to the right.

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
    """Draw bars of the two ratios of every loss, and curves of growth where they were measured.

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
