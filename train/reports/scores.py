"""What `python -m savedmodels evaluate` shows: the scores of a model."""

from rich.markup import escape
from rich.table import Table

from train.loop.evaluation import METRICS, Scores


def scores_table(scores: Scores, title: str) -> Table:
    """Return the IoU per class, and below it the other metrics, in per cent."""
    shares = scores.matrix.sum(axis=1) / max(scores.matrix.sum(), 1)
    sheet = Table(title=title, show_footer=True)
    labels = [metric.label for metric in METRICS.values()]
    values = [f"{100 * value:.2f}" for value in scores.scalars().values()]
    sheet.add_column("class", "\n".join([*labels, f"{scores.images} images"]))
    sheet.add_column("IoU %", "\n".join([*values, ""]), justify="right")
    sheet.add_column("pixels %", justify="right")
    for (name, iou), share in zip(scores.iou.items(), shares, strict=True):
        value = "absent" if iou is None else f"{100 * iou:.2f}"
        sheet.add_row(escape(name), value, f"{100 * share:.2f}")
    return sheet
