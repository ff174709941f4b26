"""A comparison drawn: scores with their seeds, and gains per class by its share of pixels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from train.compare.entries import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def score_plot(entries: Sequence[Entry]) -> "Figure":
    """Draw the mean IoU of each recipe: a dot for each seed, a line for their mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 0.9 + 0.36 * len(entries)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(entries))[::-1]
    for place, entry in zip(places, entries, strict=True):
        scores = 100 * entry.mean_iou()
        axes.plot(scores, np.full(len(scores), place), "o", color="tab:blue", alpha=0.6)
        axes.plot([scores.mean()] * 2, [place - 0.3, place + 0.3], color="black")
        axes.annotate(
            f"{scores.mean():.1f}",
            (1.01, place),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
        )
    axes.axvline(100 * entries[0].mean_iou().mean(), color="0.7", linestyle=":", zorder=0)
    axes.set_yticks(places, [entry.name for entry in entries])
    axes.set_ylim(-0.6, len(entries) - 0.4)
    axes.margins(x=0.08)
    axes.set_xlabel("mean IoU, %: a dot for each seed, a line for their mean")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def gain_plot(entries: Sequence[Entry]) -> "Figure":
    """Draw by how much each recipe raises the IoU of each class, the class of least pixels first.

    Reference: LMP (Rota Bulò et al., 2017), figure 3.
    """
    from matplotlib.figure import Figure

    first, others = entries[0], entries[1:]
    pixels = first.totals()[0, 0]
    present = np.flatnonzero(pixels)
    order = present[np.argsort(pixels[present])]
    shares = 100 * pixels[order] / pixels.sum()
    gains = [100 * (entry.class_iou() - first.class_iou())[order] for entry in others]
    figure = Figure(figsize=(9, 1.9 * len(others) + 0.9), layout="constrained")
    rows = figure.subplots(len(others), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    places = np.arange(len(order))
    for axes, entry, gain in zip(rows, others, gains, strict=True):
        axes.bar(places, gain, 0.6, color=np.where(gain >= 0, "tab:green", "tab:red"))
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_title(f"{entry.name} − {first.name}", fontsize=10)
        axes.set_ylabel("IoU, points")
        axes.spines[["top", "right"]].set_visible(False)
    names = [first.class_names[i] for i in order]
    labels = [f"{name}\n{share:.2g} %" for name, share in zip(names, shares, strict=True)]
    rows[-1].set_xticks(places, labels, fontsize=8, rotation=30 if len(places) > 12 else 0)
    rows[-1].set_xlabel("class, and its share of the pixels")
    return figure
