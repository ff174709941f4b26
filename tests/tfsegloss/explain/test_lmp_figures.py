"""The figures of LMP's paper."""

import numpy as np
import pytest

from tfsegloss.explain import draw_optimal_weights, draw_weight_space


def lines(axes):
    return {line.get_label(): np.stack(line.get_data()) for line in axes.get_lines()}


def test_the_figure_of_the_weight_space():
    left, right = draw_weight_space().axes
    assert [*lines(left)] == ["p = 1", "p = 1.4", "p = 2", "p = 4", "p = ∞"]
    for label, p in [("p = 1", 1), ("p = 1.4", 1.4), ("p = ∞", np.inf)]:
        np.testing.assert_allclose(np.linalg.norm(lines(left)[label], p, axis=0), 1)
    corners = right.patches[0].get_xy().T
    norms = np.linalg.norm(corners, 1.4, axis=0)
    assert np.abs(corners).max() == 0.6
    assert norms.max() <= 2 ** (-0.4 / 1.4) + 1e-9
    mean = lines(right)["the plain mean"][:, 0]
    assert np.linalg.norm(mean, 1.4) == pytest.approx(norms.max(), rel=1e-4)


def test_the_figure_of_the_optimal_weights():
    left, right = (lines(axes) for axes in draw_optimal_weights().axes)
    assert [*left] == [f"p = {p}" for p in ("1", "1.2", "1.4", "1.7", "2", "3", "4", "10", "∞")]
    assert [*right] == [f"m/n = {m}" for m in (0, 0.1, 0.2, 0.4, 0.8, 1)]
    np.testing.assert_allclose(left["p = ∞"][1], 0.01)
    np.testing.assert_allclose(right["m/n = 1"][1], 0.01)
    for _, weights in [*left.values(), *right.values()]:
        assert (np.diff(weights) >= -1e-9).all(), "losses are sorted, so weights are"
    assert (left["p = 1"][1] > 0).sum() == 34
    assert right["m/n = 0"][1].argmax() == 99
    assert (np.diff(right["m/n = 0"][1])[-1:] > 0).all(), "one pixel is above the others"
