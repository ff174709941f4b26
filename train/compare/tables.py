"""A comparison as Markdown and as CSV."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from train.compare.counts import COUNTS
from train.compare.entries import Entry


def markdown(entries: Sequence[Entry]) -> str:
    """Return the table of scores, and that of the classes, in percent.

    Args:
        entries: What is compared; the others are compared to the first.
    """
    first = entries[0]
    head = [
        "recipe",
        "mean IoU",
        "boundary IoU",
        f"difference to {first.name}",
        "95 % interval",
        "s/step",
    ]
    rows = []
    for entry in entries:
        seconds = entry.seconds_per_step()
        difference = ["", ""]
        if entry is not first:
            interval = entry.better_than(first)
            low, high = 100 * interval.low, 100 * interval.high
            reach = "–" if np.isnan(low) else f"{low:+.2f} to {high:+.2f}"
            difference = [f"{100 * interval.difference:+.2f}", reach]
        scores = entry.mean_iou(), entry.mean_boundary_iou()
        rows.append(
            [
                entry.name,
                *map(_with_spread, scores),
                *difference,
                "" if seconds is None else f"{seconds:.3g}",
            ]
        )
    classes = [[entry.name, *map(_percent, entry.class_iou())] for entry in entries]
    return (
        _explanation(entries)
        + "\n\n"
        + _table(head, rows)
        + _notes(entries)
        + "\nIoU of the classes, mean over the seeds:\n\n"
        + _table(["recipe", *first.class_names], classes)
    )


def _explanation(entries: Sequence[Entry]) -> str:
    """Say what the numbers are, and what the intervals do not hold."""
    seeds = sorted(entries[0].runs)
    if len({entry.steps for entry in entries}) == 1:
        steps = f"{entries[0].steps} steps"
    else:
        steps = ", ".join(f"{entry.steps} ({entry.name})" for entry in entries) + " steps"
    number = len(entries[0].images)
    independent = "taken as independent, which frames of one video are not quite"
    if len(seeds) == 1:
        return (
            f"In percent, of seed {seeds[0]} after {steps}, on {number} images; intervals of a "
            f"paired bootstrap of the images ({independent}) alone: another seed may change more."
        )
    return (
        "In percent; mean ± sample standard deviation over the seeds "
        f"{', '.join(map(str, seeds))}, after {steps}, on {number} images; intervals of seeds "
        f"(Student's t) and images (a paired bootstrap; {independent})."
    )


def _notes(entries: Sequence[Entry]) -> str:
    """Say what differs besides the losses, and which classes have no label."""
    first, *others = entries
    changes = [f"{other.name}: {text}" for other in others if (text := other.other_settings(first))]
    notes = [f"Other settings than {first.name} has: {'; '.join(changes)}."] if changes else []
    revisions = {
        revision
        for entry in entries
        for run in entry.runs.values()
        for revision in run.origin.get("revisions", [])
    }
    if len(revisions) > 1:
        notes.append(f"Trained by {len(revisions)} revisions of the code.")
    labelled = first.totals()[0, COUNTS.index("truth")] > 0
    missing = [
        name for name, is_there in zip(first.class_names, labelled, strict=True) if not is_there
    ]
    if missing:
        notes.append(
            f"No label: {', '.join(missing)}; where one is predicted, it counts in the mean as 0."
        )
    return "".join(f"\n{note}\n" for note in notes)


def as_csv(entries: Sequence[Entry]) -> str:
    """Return a row for each run: its scores in [0, 1], empty where not defined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = entries[0].class_names
    head = ["recipe", "seed", "step", "mean_iou", "mean_boundary_iou", "seconds_per_step"]
    writer.writerow([*head, *names])
    for entry in entries:
        for seed, run in sorted(entry.runs.items()):
            one = Entry(entry.name, {seed: run})
            scores = one.mean_iou()[0], one.mean_boundary_iou()[0]
            cells = map(_decimal, [*scores, run.seconds_per_step, *one.class_iou()])
            writer.writerow([entry.name, seed, run.step, *cells])
    return text.getvalue()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(_cell(text) for text in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _with_spread(values: np.ndarray) -> str:
    """Return the mean over the seeds, and the spread where there are several."""
    spread = f" ± {100 * values.std(ddof=1):.2f}" if len(values) > 1 else ""
    return f"{_percent(values.mean())}{spread}"


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.2f}"


def _decimal(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.6g}"
