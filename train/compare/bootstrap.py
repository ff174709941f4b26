"""How sure a difference of mean IoU is: a paired bootstrap over images and seeds."""

from typing import NamedTuple

import numpy as np

from train.compare.counts import iou, mean

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

    Each sample draws, with replacement, as many images as there are and as many seeds, the same of
    both, sums the counts of the images, and averages over the seeds the difference of the mean
    IoU. The interval is that between the percentiles 2.5 and 97.5 of 2000 samples. With one seed
    it says nothing of what another seed would change.

    Args:
        first, second: Counts int64 `[seeds, images, 5, C]`, of the same seeds and images.

    Reference: Efron and Tibshirani, *An introduction to the bootstrap*, 1993, chapter 13.
    """
    random = np.random.default_rng(0)
    seeds, images = first.shape[:2]
    differences = []
    for _ in range(SAMPLES // CHUNK):
        times = random.multinomial(images, np.full(images, 1 / images), size=CHUNK)
        shares = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=CHUNK) / seeds
        scores = [_scores(counts, times) for counts in (first, second)]
        differences.append((shares * (scores[1] - scores[0])).sum(axis=1))
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(np.concatenate(differences), [tail, 100 - tail])
    once = np.ones([1, images], np.int64)
    difference = (_scores(second, once) - _scores(first, once)).mean()
    return Interval(float(difference), float(low), float(high))


def _scores(counts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the mean IoU `[samples, seeds]` with each image counted so many times.

    Args:
        counts: `[seeds, images, 5, C]`.
        times: `[samples, images]`.
    """
    # float64 is exact up to 2⁵³ pixels, and its products are fast.
    totals = np.einsum("ri,siac->rsac", times.astype(float), counts.astype(float), optimize=True)
    return mean(iou(totals))
