"""How sure a difference of mean IoU is: seeds by Student's t, images by a paired bootstrap."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from train.compare.counts import iou, iou_of_part, mean

SAMPLES = 2000
CHUNK = 100  # of which the counts fit into memory
LEVEL = 0.95


class Interval(NamedTuple):
    """A difference and where it lies.

    Args:
        difference: Of the mean IoU, averaged over the seeds.
        low, high: Ends of the interval of 95 %.
    """

    difference: float
    low: float
    high: float


def paired_interval(first: np.ndarray, second: np.ndarray) -> Interval:
    """Return how much higher the mean IoU of the second is, and the interval of that.

    With d_s the difference of seed s, n seeds and N images, the interval is

        mean(d) ± √(t²ₙ₋₁ var(d) / n + t²_N₋₁ N / (N − 1) var(mean(d) of drawn images))

    where as many images as there are are drawn with replacement, 2000 times, the same of all runs,
    and t is the quantile 97.5 % of Student's distribution with so many degrees of freedom: the two
    intervals, of seeds and of images, added as squares. Seeds are not drawn as images are: of
    three, an interval of draws reaches at most from the lowest to the highest, which holds the true
    mean in 3 cases of 4. With one seed the first part is left out, and the interval says nothing
    of what another seed would change.

    The variance of draws is that of N images; times N / (N − 1) it is that of all there might be.
    With one seed and one image nothing is known: the ends are NaN.

    A class whose truth is in none of the drawn images, though in others, counts in neither run of
    that sample, else one wrong pixel of one run would be worth a class; the difference itself is
    that of the usual mean IoU.

    Images are drawn as if independent. Frames of one video are less so, and of one scene count for
    little more than one of them: then the images' part is too small.

    Args:
        first, second: Counts int64 `[seeds, images, 5, C]`, of the same seeds and images.

    Reference: Efron and Tibshirani, *An introduction to the bootstrap*, 1993, chapter 6;
        Zou and Donner, *Construction of confidence limits about effect measures: a general
        approach*, Statistics in Medicine 27, 2008, for the sum of squares.
    """
    seeds, images = first.shape[:2]
    by_seed = mean(iou(second.sum(axis=1))) - mean(iou(first.sum(axis=1)))
    squares = 0.0
    if seeds > 1:
        squares += _quantile(seeds - 1) ** 2 * by_seed.var(ddof=1) / seeds
    if images > 1:
        drawn = np.nanvar(_drawn_differences(first, second))
        squares += _quantile(images - 1) ** 2 * drawn * images / (images - 1)
    is_known = seeds > 1 or images > 1
    difference, reach = float(by_seed.mean()), float(np.sqrt(squares)) if is_known else np.nan
    return Interval(difference, difference - reach, difference + reach)


def _quantile(freedom: int) -> float:
    """Return the end of Student's distribution with so many degrees of freedom."""
    return stats.t.ppf((1 + LEVEL) / 2, freedom)


def _drawn_differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the difference, averaged over the seeds, of each sample of images, `[SAMPLES]`."""
    random = np.random.default_rng(0)
    images = first.shape[1]
    differences = []
    for _ in range(SAMPLES // CHUNK):
        times = random.multinomial(images, np.full(images, 1 / images), size=CHUNK)
        differences.append((_scores(second, times) - _scores(first, times)).mean(axis=1))
    return np.concatenate(differences)


def _scores(counts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the mean IoU `[samples, seeds]` with each image counted so many times.

    Args:
        counts: `[seeds, images, 5, C]`.
        times: `[samples, images]`.
    """
    # float64 is exact up to 2⁵³ pixels, and its products are fast.
    totals = np.einsum("ri,siac->rsac", times.astype(float), counts.astype(float), optimize=True)
    return mean(iou_of_part(totals, counts.sum(axis=1)))
