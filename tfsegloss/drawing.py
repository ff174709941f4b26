"""Pictures of maps, and the figures of LMP's paper; see `tfsegloss.explain`.

matplotlib is imported where something is drawn, without its state and without a display.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfsegloss.max_pooling import optimal_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "pixel_loss": "pixel loss",
    "gradient": "gradient (1 = its mean)",
    "against": "gradient against the first row's",
    "weights": "weight in the pooling (1 = mean)",
    "agreement": "same class in the window (pixels)",
    "hard": "hard classes",
    "difference": "structural difference",
}
GREY = "0.8"  # ignored pixels
WIDTH, DPI = 12.0, 100  # inches: 1200 pixels
# Where in a column its map and its colour bar are; the rest is for the bar's numbers.
LEFT, RIGHT, BAR_START, BAR_END = 0.04, 0.79, 0.805, 0.835
HEADING, TITLE, GAP = 0.3, 0.25, 0.1  # inches
# Maps of ratios are drawn from 1/end to end, on a scale of logarithms, in these colours.
RATIOS = {"gradient": (32, "magma"), "against": (8, "PuOr_r")}
LEGEND_LINES = 8
LEGEND_STYLE = {"frameon": False, "handlelength": 1, "handleheight": 1, "columnspacing": 1.2}
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
    colours: Sequence[tuple[int, int, int]] | None = None,
) -> "Figure":
    """A row of maps for each loss, below a row of image, labels, prediction and errors.

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
        colours: RGB of the classes, 0 to 255.

    Raises:
        ModuleNotFoundError: matplotlib is missing.

    Example:

    >>> maps = {"valid": np.ones([3, 4], bool), "pixel_loss": np.ones([3, 4])}
    >>> ids = np.zeros([3, 4], int)
    >>> figure = draw_rows({"loss": maps}, ids, ids, maps["valid"])
    """
    rows = _with_comparison(rows)
    shown = {name: [key for key in _ordered(maps) if "/" not in key] for name, maps in rows.items()}
    columns = max(5, *map(len, shown.values()))
    map_height = WIDTH / columns * (RIGHT - LEFT) * truth.shape[0] / truth.shape[1]
    head, height = TITLE + map_height + GAP, HEADING + TITLE + map_height + GAP
    figure = _figure(WIDTH, head + height * len(rows) + GAP)
    grid = _Grid(figure, columns, map_height)
    _draw_head(grid, truth, predicted, valid, image, class_names, colours)
    highest = _end([maps["weights"] for maps in rows.values() if "weights" in maps])
    for row, (name, maps) in enumerate(rows.items()):
        top = head + row * height
        grid.heading(top + HEADING * 0.75, name)
        for column, key in enumerate(shown[name]):
            grid.map(column, top + HEADING + TITLE, key, maps[key], maps["valid"], highest)
    return figure


def draw_weight_space() -> "Figure":
    """LMP's figure 1: the norms of two weights, and the set from which they are chosen.

    Left ‖w‖_p = 1 for p = 1, 1.4, 2, 4, ∞; right the set W of all w with ‖w‖_p ≤ γ and ‖w‖_∞ ≤ τ,
    for n = 2, p = 1.4, τ = 0.6 and γ = n^(−1/q).

    Raises:
        ModuleNotFoundError: matplotlib is missing.

    Example:

    >>> figure = draw_weight_space()

    Reference: LMP (Rota Bulò et al., 2017), figure 1.
    """
    figure = _figure(8.4, 3.9)
    left, right = figure.subplots(1, 2)
    powers = [1, 1.4, 2, 4, math.inf]
    for p, colour in zip(powers, _sequence(len(powers)), strict=True):
        left.plot(*_sphere(p), color=colour, label=f"p = {_number(p)}")
    left.set_title("$\\|w\\|_p = 1$")
    left.legend(loc="center", frameon=False)

    p, tau = 1.4, 0.6
    gamma = 2 ** -(1 - 1 / p)
    ball, box = gamma * _sphere(p), tau * _sphere(math.inf)
    right.fill(*np.clip(ball, -tau, tau), color="tab:blue", alpha=0.3, label="$\\mathcal{W}$")
    right.plot(*ball, "--", color="tab:blue", label=f"$\\|w\\|_{{{p}}} = \\gamma = {gamma:.2f}$")
    right.plot(*box, ":", color="tab:red", label=f"$\\|w\\|_\\infty = \\tau = {tau}$")
    right.plot(0.5, 0.5, "ko", markersize=4, label="the plain mean")
    right.set_title(f"$\\mathcal{{W}}$ for n = 2, p = {p}, τ = {tau}")
    right.legend(loc="center", frameon=False, fontsize=8.5)
    for axes in (left, right):
        axes.set(xlabel="$w_1$", ylabel="$w_2$", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
        axes.set(xticks=[-1, -0.5, 0, 0.5, 1], yticks=[-1, -0.5, 0, 0.5, 1], aspect="equal")
    figure.tight_layout()
    return figure


def draw_optimal_weights() -> "Figure":
    """LMP's figure 2: the optimal weights of 100 sorted losses.

    Left m = n/3 with p from 1 to ∞, right p = 1.7 with m from 1 pixel (the paper's m/n = 0) to all.

    Raises:
        ModuleNotFoundError: matplotlib is missing.

    Example:

    >>> figure = draw_optimal_weights()

    Reference: LMP (Rota Bulò et al., 2017), figure 2, whose losses are not given.
    """
    n = 100
    losses = np.sort(np.random.default_rng(0).gamma(1.5, size=n))
    figure = _figure(9.6, 3.9)
    left, right = figure.subplots(1, 2, sharey=True)
    powers = [1, 1.2, 1.4, 1.7, 2, 3, 4, 10, math.inf]
    _plot_weights(left, losses, {f"p = {_number(p)}": (p, 1 / 3) for p in powers})
    left.set(title="m = n/3", ylabel="weight w*")
    shares = [0, 0.1, 0.2, 0.4, 0.8, 1]
    _plot_weights(right, losses, {f"m/n = {m}": (1.7, max(m, 1 / n)) for m in shares})
    right.set(title="p = 1.7")
    figure.tight_layout()
    return figure


def _with_comparison(
    rows: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, dict[str, np.ndarray]]:
    """The rows, from the second on with "against"."""

    (first, reference), *others = rows.items()
    compared = {
        name: {**maps, "against": _damped_shares(maps) / _damped_shares(reference)}
        for name, maps in others
    }
    return {first: dict(reference), **compared}


def _damped_shares(maps: Mapping[str, np.ndarray]) -> np.ndarray:
    mean = maps["gradient"].mean()
    return (maps["gradient"] / mean if mean > 0 else maps["gradient"]) + DAMPING


def _draw_head(
    grid: "_Grid",
    truth: np.ndarray,
    predicted: np.ndarray,
    valid: np.ndarray,
    image: np.ndarray | None,
    class_names: Sequence[str] | None,
    colours: Sequence[tuple[int, int, int]] | None,
) -> None:
    """Image, labels, prediction, errors and legend."""
    from matplotlib.colors import ListedColormap

    labels = np.where(valid, truth, 0)
    colour_of = _colours(max(labels.max(), predicted.max()) + 1, colours)
    wrong = np.where(valid, truth != predicted, 0)
    share = wrong.sum() / max(valid.sum(), 1)
    red = ListedColormap(["white", "crimson"]).with_extremes(bad=GREY)
    pictures = {
        "image": (image, {}),
        "labels": (np.where(valid[..., np.newaxis], colour_of[labels], float(GREY)), {}),
        "prediction": (colour_of[predicted], {}),
        f"errors ({share:.0%} of the pixels)": (
            np.ma.array(wrong, mask=~valid),
            {"cmap": red, "vmin": 0, "vmax": 1},
        ),
    }
    shown = [(title, *value) for title, value in pictures.items() if value[0] is not None]
    for column, (title, pixels, options) in enumerate(shown):
        grid.picture(column, TITLE, title, pixels, **options)
    if class_names is not None:
        grid.legend(len(shown), TITLE, class_names, colour_of)


def _plot_weights(
    axes: "Axes", losses: np.ndarray, settings: Mapping[str, tuple[float, float]]
) -> None:
    pixels = np.arange(1, len(losses) + 1)
    for colour, (label, (p, fraction)) in zip(
        _sequence(len(settings)), settings.items(), strict=True
    ):
        weights = optimal_weights(tf.constant(losses[np.newaxis]), p, fraction)[0]
        axes.plot(pixels, weights, color=colour, label=label)
    axes.set(xlabel="pixel, by its loss", xlim=(1, len(losses)))
    axes.legend(frameon=False, loc="upper left")


def _sphere(p: float) -> np.ndarray:
    """The points `[2, N]` with ‖w‖_p = 1."""
    angle = np.linspace(0, 2 * np.pi, 721)
    points = np.stack([np.cos(angle), np.sin(angle)])
    return points / np.linalg.norm(points, p, axis=0)


def _number(p: float) -> str:
    return "∞" if math.isinf(p) else f"{p:g}"


def _figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ModuleNotFoundError("pictures need matplotlib: pip install tfsegloss[plot]") from None
    return Figure(figsize=(width, height), dpi=DPI)


def _sequence(count: int) -> np.ndarray:
    """Colours for an ordered series of lines."""
    import matplotlib

    return matplotlib.colormaps["viridis"](np.linspace(0, 0.92, count))


def _colours(count: int, colours: Sequence[tuple[int, int, int]] | None) -> np.ndarray:
    """RGB in [0, 1] of each class."""
    import matplotlib

    if colours is not None:
        return np.array(colours) / 255
    return matplotlib.colormaps["tab20"](np.arange(count) % 20)[:, :3]


def _ordered(maps: Mapping[str, np.ndarray]) -> list[str]:
    """The maps' names, those that all losses have first."""
    known = [name for name in TITLES if name in maps]
    return known + [name for name in maps if name not in (*TITLES, "valid")]


def _end(maps: Sequence[np.ndarray]) -> float:
    """Where the scale of some maps ends."""
    values = [values[values != 0] for values in maps]
    return max((float(np.quantile(v, 1 - BEYOND)) for v in values if v.size), default=0) or 1.0


class _Grid:
    """Columns of equal maps in a figure, placed in inches from its top."""

    def __init__(self, figure: "Figure", columns: int, map_height: float):
        self.figure = figure
        self.column = 1 / columns
        self.height = figure.get_figheight()
        self.map_height = map_height

    def heading(self, y: float, text: str) -> None:
        """The name of a row, above a line across the figure."""
        self.figure.text(0.01, 1 - y / self.height, text, fontsize=12, weight="bold")

    def legend(self, column: int, top: float, names: Sequence[str], colours: np.ndarray) -> None:
        """Names and colours of the classes."""
        from matplotlib.patches import Patch

        axes = self._axes(column, LEFT, RIGHT, top)
        axes.set_axis_off()
        patches = [Patch(color=c, label=n) for n, c in zip(names, colours, strict=False)]
        patches.append(Patch(color=GREY, label="ignored"))
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
        """A picture without axes, below its title."""
        axes = self._axes(column, LEFT, RIGHT, top)
        axes.imshow(pixels, interpolation="nearest", aspect="auto", **options)
        axes.set_title(title, fontsize=9.5, loc="left")
        axes.set(xticks=[], yticks=[])
        return axes

    def map(
        self,
        column: int,
        top: float,
        name: str,
        values: np.ndarray,
        valid: np.ndarray,
        highest_weight: float,
    ) -> None:
        """A map with its colour bar."""
        import matplotlib
        from matplotlib.colors import LogNorm, Normalize
        from matplotlib.ticker import MaxNLocator

        whole = values.dtype.kind in "iu"
        if name == "gradient" and values.any():
            values = values / values[valid].mean()
        if name in RATIOS:
            end, colours = RATIOS[name]
            values = np.clip(values, 1 / end, None)  # a logarithm takes no 0
            norm = LogNorm(1 / end, end)
        else:
            end = highest_weight if name == "weights" else _end([values])
            norm, colours = Normalize(0, max(end, 1) if whole else end), "viridis"
        colours = matplotlib.colormaps[colours].with_extremes(bad=GREY)
        title = TITLES.get(name, name.replace("_", " "))
        pixels = np.ma.array(values, mask=~valid)
        axes = self.picture(column, top, title, pixels, norm=norm, cmap=colours)
        beside = self._axes(column, BAR_START, BAR_END, top)
        bar = self.figure.colorbar(axes.images[0], cax=beside)
        if name in RATIOS:
            bar.set_ticks([1 / end, 1, end], labels=[f"1/{end}", "1", f"{end}"])
            bar.minorticks_off()
        else:
            bar.locator = MaxNLocator(4, integer=whole)
            bar.update_ticks()
        beside.tick_params(labelsize=8)

    def _axes(self, column: int, start: float, end: float, top: float) -> "Axes":
        x, width = (column + start) * self.column, (end - start) * self.column
        y, height = 1 - (top + self.map_height) / self.height, self.map_height / self.height
        return self.figure.add_axes([x, y, width, height])
