"""The figures of LMP's paper that need no training.

matplotlib is imported where something is drawn, without its state and without a display.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfsegloss.explain.grid import new_figure
from tfsegloss.poolings.max_pooling import optimal_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_weight_space() -> "Figure":
    """Draw LMP's figure 1: the norms of two weights, and the set from which they are chosen.

    Left ‖w‖_p = 1 for p = 1, 1.4, 2, 4, ∞; right the set W of all w with ‖w‖_p ≤ γ and ‖w‖_∞ ≤ τ,
    for n = 2, p = 1.4, τ = 0.6 and γ = n^(−1/q).

    Raises:
        ModuleNotFoundError: matplotlib is missing.

    Example:

    >>> figure = draw_weight_space()

    Reference: LMP (Rota Bulò et al., 2017), figure 1.
    """
    figure = new_figure(8.4, 3.9)
    left, right = figure.subplots(1, 2)
    powers = [1, 1.4, 2, 4, math.inf]
    for p, color in zip(powers, _sequence(len(powers)), strict=True):
        left.plot(*_sphere(p), color=color, label=f"p = {_number(p)}")
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
    """Draw LMP's figure 2: the optimal weights of 100 sorted losses.

    Left m = n/3 with p from 1 to ∞, right p = 1.7 with m from 1 pixel (the paper's m/n = 0) to all.

    Raises:
        ModuleNotFoundError: matplotlib is missing.

    Example:

    >>> figure = draw_optimal_weights()

    Reference: LMP (Rota Bulò et al., 2017), figure 2, whose losses are not given.
    """
    n = 100
    losses = np.sort(np.random.default_rng(0).gamma(1.5, size=n))
    figure = new_figure(9.6, 3.9)
    left, right = figure.subplots(1, 2, sharey=True)
    powers = [1, 1.2, 1.4, 1.7, 2, 3, 4, 10, math.inf]
    _plot_weights(left, losses, {f"p = {_number(p)}": (p, 1 / 3) for p in powers})
    left.set(title="m = n/3", ylabel="weight w*")
    shares = [0, 0.1, 0.2, 0.4, 0.8, 1]
    _plot_weights(right, losses, {f"m/n = {m}": (1.7, max(m, 1 / n)) for m in shares})
    right.set(title="p = 1.7")
    figure.tight_layout()
    return figure


def _plot_weights(
    axes: "Axes", losses: np.ndarray, settings: Mapping[str, tuple[float, float]]
) -> None:
    pixels = np.arange(1, len(losses) + 1)
    for color, (label, (p, fraction)) in zip(
        _sequence(len(settings)), settings.items(), strict=True
    ):
        weights = optimal_weights(tf.constant(losses[np.newaxis]), p, fraction)[0]
        axes.plot(pixels, weights, color=color, label=label)
    axes.set(xlabel="pixel, by its loss", xlim=(1, len(losses)))
    axes.legend(frameon=False, loc="upper left")


def _sphere(p: float) -> np.ndarray:
    """Return the points `[2, N]` with ‖w‖_p = 1."""
    angle = np.linspace(0, 2 * np.pi, 721)
    points = np.stack([np.cos(angle), np.sin(angle)])
    return points / np.linalg.norm(points, p, axis=0)


def _number(p: float) -> str:
    return "∞" if math.isinf(p) else f"{p:g}"


def _sequence(count: int) -> np.ndarray:
    """Return colors for an ordered series of lines."""
    import matplotlib

    return matplotlib.colormaps["viridis"](np.linspace(0, 0.92, count))
