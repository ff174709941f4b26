"""Maps of several losses as the rows of one picture.

matplotlib is imported where something is drawn, without its state and without a display.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfsegloss.explain.grid import GRAY, LEFT, RIGHT, Grid, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "pixel_loss": "pixel loss",
    "cross_entropy": "cross-entropy",
    "gradient": "gradient (1 = its mean)",
    "against": "gradient ÷ {first}'s",
    "weights": "weight in the pooling (1 = mean)",
    "agreement": "same class in the window (pixels)",
    "hard": "hard classes",
    "difference": "structural difference",
}
WIDTH, COLUMNS = 12.0, 5  # inches: 1200 pixels; at least so many maps beside each other
HEADING, TITLE, GAP = 0.3, 0.25, 0.1  # inches
# Maps of ratios are drawn from 1/end to end, on a scale of logarithms, in these colors.
RATIOS = {"gradient": (32, "magma"), "against": (8, "PuOr_r")}
# What is added to shares before they are compared, in units of the mean share.
DAMPING = 0.1
# Single pixels must not set a scale: this share of them is beyond its end.
BEYOND = 0.005


def draw_rows(
    rows: Mapping[str, Mapping[str, np.ndarray]],
    truth: np.ndarray,
    predicted: np.ndarray,
    valid: np.ndarray,
    *,
    image: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    colors: Sequence[tuple[int, int, int]] | None = None,
) -> "Figure":
    """Draw a row of maps for each loss, below a row of image, labels, prediction and errors.

    From the second row on, one map more compares the gradient with that of the first: each pixel's
    share in the sum of the gradient's norms over its share in the first row. A tenth of the mean
    share is added to both, so that 1 also means that neither looks there.

    Args:
        rows: By the name of the loss, its maps `[H, W]` by name, "valid" among them. Those whose
            name holds a "/" are left out.
        truth: Class ids `[H, W]`.
        predicted: Class ids `[H, W]`.
        valid: bool `[H, W]`, the pixels that have a label.
        image: uint8 `[H, W, 3]`.
        class_names: For a legend.
        colors: RGB of the classes, 0 to 255.

    Returns:
        The figure.

    Raises:
        ModuleNotFoundError: matplotlib is missing.

    Example:

    >>> maps = {"valid": np.ones([3, 4], bool), "pixel_loss": np.ones([3, 4])}
    >>> ids = np.zeros([3, 4], int)
    >>> figure = draw_rows({"loss": maps}, ids, ids, maps["valid"])
    """
    rows = _with_comparison(rows)
    shown = {name: _ordered(maps) for name, maps in rows.items()}
    columns = max(COLUMNS, *map(len, shown.values()))
    map_height = WIDTH / columns * (RIGHT - LEFT) * truth.shape[0] / truth.shape[1]
    head, height = TITLE + map_height + GAP, HEADING + TITLE + map_height + GAP
    figure = new_figure(WIDTH, head + height * len(rows) + GAP)
    grid = Grid(figure, columns, map_height)
    _draw_head(grid, truth, predicted, valid, image, class_names, colors)
    highest_weight = _end([maps["weights"] for maps in rows.values() if "weights" in maps])
    first = next(iter(rows))
    for row, (name, maps) in enumerate(rows.items()):
        top = head + row * height
        grid.heading(top + HEADING * 0.75, name)
        for column, key in enumerate(shown[name]):
            title = TITLES.get(key, key.replace("_", " ")).format(first=first)
            end = highest_weight if key == "weights" else _end([maps[key]])
            place = column, top + HEADING + TITLE
            _draw_map(grid, place, title, maps[key], maps["valid"], end, RATIOS.get(key))
    return figure


def _with_comparison(
    rows: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, dict[str, np.ndarray]]:
    """Return the rows with gradients over their mean, from the second on with "against"."""
    rows = {name: dict(maps) for name, maps in rows.items()}
    for maps in rows.values():
        if "gradient" in maps and maps["gradient"].any():
            maps["gradient"] = maps["gradient"] / maps["gradient"][maps["valid"]].mean()
    reference, *others = rows.values()
    for maps in others:
        maps["against"] = (maps["gradient"] + DAMPING) / (reference["gradient"] + DAMPING)
    return rows


def _draw_head(
    grid: Grid,
    truth: np.ndarray,
    predicted: np.ndarray,
    valid: np.ndarray,
    image: np.ndarray | None,
    class_names: Sequence[str] | None,
    colors: Sequence[tuple[int, int, int]] | None,
) -> None:
    """Image, labels, prediction, errors and legend."""
    from matplotlib.colors import ListedColormap

    labels = np.where(valid, truth, 0)
    color_of = _colors(int(max(labels.max(), predicted.max())) + 1, colors)
    wrong = np.where(valid, truth != predicted, 0)
    share = wrong.sum() / max(valid.sum(), 1)
    red = ListedColormap(["white", "crimson"]).with_extremes(bad=GRAY)
    pictures = {
        "image": (image, {}),
        "labels": (np.where(valid[..., np.newaxis], color_of[labels], float(GRAY)), {}),
        "prediction": (color_of[predicted], {}),
        f"errors ({share:.0%} of the pixels)": (
            np.ma.array(wrong, mask=~valid),
            {"cmap": red, "vmin": 0, "vmax": 1},
        ),
    }
    shown = [(title, *value) for title, value in pictures.items() if value[0] is not None]
    for column, (title, pixels, options) in enumerate(shown):
        grid.picture(column, TITLE, title, pixels, **options)
    if class_names is not None:
        grid.legend(len(shown), TITLE, class_names, color_of)


def _draw_map(
    grid: Grid,
    place: tuple[int, float],
    title: str,
    values: np.ndarray,
    valid: np.ndarray,
    end: float,
    ratio: tuple[int, str] | None,
) -> None:
    """Draw a map and its color bar: from 0 to `end`, or for a map of ratios as `RATIOS` says."""
    import matplotlib
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import MaxNLocator

    whole = values.dtype.kind in "iu"
    if ratio is not None:
        end, colors = ratio
        values = np.clip(values, 1 / end, None)  # a logarithm takes no 0
        norm = LogNorm(1 / end, end)
    else:
        norm, colors = Normalize(0, max(end, 1) if whole else end), "viridis"
    colors = matplotlib.colormaps[colors].with_extremes(bad=GRAY)
    axes = grid.picture(*place, title, np.ma.array(values, mask=~valid), norm=norm, cmap=colors)
    bar = grid.bar(*place, axes.images[0])
    if ratio is not None:
        bar.set_ticks([1 / end, 1, end], labels=[f"1/{end}", "1", f"{end}"])
        bar.minorticks_off()
    else:
        bar.locator = MaxNLocator(4, integer=whole)
        bar.update_ticks()


def _colors(count: int, colors: Sequence[tuple[int, int, int]] | None) -> np.ndarray:
    """Return RGB in [0, 1] of each class."""
    import matplotlib

    if colors is not None:
        return np.array(colors) / 255
    return matplotlib.colormaps["tab20"](np.arange(count) % 20)[:, :3]


def _ordered(maps: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the maps that are drawn, those that most losses have first."""
    known = [name for name in TITLES if name in maps]
    others = [name for name in maps if name not in TITLES and name != "valid" and "/" not in name]
    return known + others


def _end(maps: Sequence[np.ndarray]) -> float:
    """Return where the scale of some maps ends."""
    values = [values[values != 0] for values in maps]
    return max((float(np.quantile(v, 1 - BEYOND)) for v in values if v.size), default=0) or 1.0
