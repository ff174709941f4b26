"""How much two maps differ in structure around each pixel."""

import math

import tensorflow as tf

from tfsegloss.kernels import windows
from tfsegloss.kernels.windows import mirror_columns


def structural_difference(
    y: tf.Tensor, p: tf.Tensor, *, window_size: int, sigma: float, stability: float
) -> tf.Tensor:
    """Difference between two maps, each standardized within a window around every pixel.

    e = |(y − μ_y + C4) / (σ_y + C4) − (p − μ_p + C4) / (σ_p + C4)|

    μ and σ are the mean and the standard deviation under a Gaussian window of sum 1.

    Args:
        y: `[H, W, C]`, padded by `window_size // 2` on every side.
        p: As `y`.
        window_size: Odd side; 1: e = |y − p|, where the formula would give 0.
        sigma: σ of the window > 0, in pixels.
        stability: C4 > 0.

    Returns:
        e ≥ 0, `[H − window_size + 1, W − window_size + 1, C]`.

    Example:

    >>> y = tf.constant([[0.0, 0, 0], [1, 0, 1], [1, 1, 1]])[..., tf.newaxis]
    >>> e = structural_difference(y, 1 - y, window_size=3, sigma=1.5, stability=0.01)
    >>> round(float(e[0, 0, 0]), 2)  # the center, of opposite structure
    2.14

    Reference: SSL (Zhao et al., 2019), Eq. 10, 14 and 15. The denominator is that of Eq. 10, not of
    Eq. 16, √(μ − μ² + C4). A window of 1 is ours.
    """
    if window_size == 1:
        return tf.abs(y - p)
    center = slice(window_size // 2, -(window_size // 2))

    def standardized(maps):
        mean = windows.fast_gaussian_mean(maps, window_size, sigma)
        square = windows.fast_gaussian_mean(maps * maps, window_size, sigma)
        deviation = tf.sqrt(tf.maximum(square - mean * mean, 0))
        return (maps[:, center, center] - mean + stability) / (deviation + stability)

    return tf.abs(standardized(y) - standardized(p))


def largest_difference(window_size: int, sigma: float, stability: float) -> float:
    """e_max: the difference of a standardized 1 among zeros and a standardized 0 among ones.

    Example:

    >>> round(largest_difference(3, sigma=1.5, stability=0.01), 3)
    4.672

    Reference: SSL (Zhao et al., 2019), below Eq. 16, with the denominator of Eq. 10.
    """
    if window_size == 1:
        return 1.0
    center = windows.gaussian(window_size, sigma)[window_size // 2] ** 2
    deviation = math.sqrt(center - center**2)
    return 2 * (1 - center) / (deviation + stability)


def differences_of_rows(
    y: tf.Tensor, p: tf.Tensor, *, window_size: int, sigma: float, stability: float
) -> tf.Tensor:
    """e `[H − window_size + 1, W, C]` of maps padded by `window_size // 2` rows."""
    margin = window_size // 2
    return structural_difference(
        mirror_columns(y, margin),
        mirror_columns(p, margin),
        window_size=window_size,
        sigma=sigma,
        stability=stability,
    )
