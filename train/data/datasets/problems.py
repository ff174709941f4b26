"""What is wrong with a dataset's files, beyond those that cannot be read."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from train.data.datasets.dataset import Dataset
from train.data.datasets.folder import FILE, NAME
from train.data.decoding.orientation import is_turned
from train.data.decoding.palette import IGNORED
from train.data.samples.samples import FileSamples, Samples
from train.data.samples.statistics import SplitStatistics

NAMED = 5  # samples that a line names, of those with the same problem


@dataclass(frozen=True)
class ReadSplit:
    """A split, and what was found in it.

    Args:
        name: Its name.
        samples: Its samples.
        statistics: What they hold.
    """

    name: str
    samples: Samples
    statistics: SplitStatistics

    @property
    def good(self) -> list[int]:
        """Numbers of the samples that are right."""
        return [i for i in range(len(self.samples)) if i not in self.statistics.faults]


def find_problems(splits: Sequence[ReadSplit], dataset: Dataset, train_split: str) -> Iterator[str]:
    """Yield everything that is wrong with a dataset, a line each.

    Args:
        splits: Its splits.
        dataset: What they should be.
        train_split: Name of the split in which no class may be missing.
    """
    for split in splits:
        expected = dataset.expected(split.name)
        if expected and len(split.samples) != expected:
            yield f"{split.name} has {len(split.samples)} samples, expected {expected}"
        yield from split.statistics.faults.values()
        yield from _empty(split)
        yield from _turned(split)
        yield from _equal(split, split)
        if split.name == train_split:
            yield from absent_classes(split.statistics, dataset, split.name)
    for one, other in itertools.combinations(splits, 2):
        yield from _equal(one, other)


def absent_classes(statistics: SplitStatistics, dataset: Dataset, split: str) -> Iterator[str]:
    """Yield a line on each class that no pixel of a split has.

    Args:
        statistics: What the split holds.
        dataset: What it should hold.
        split: Its name.
    """
    ignored, labelled = statistics.ignored.sum(), statistics.pixels.sum()
    remedy = ""
    # Masks of 0 and 255 are the commonest format of all.
    if ignored and dataset.name == NAME and IGNORED not in (dataset.ids or ()):
        share = 100 * ignored / (ignored + labelled)
        remedy = (
            f"; {share:.1f} % of the pixels are ignored, as the id {IGNORED} is: if it means a "
            f"class, say so in {FILE}, such as ids: {{0: {dataset.class_names[0]}, "
            f"{IGNORED}: {dataset.class_names[-1]}}}"
        )
    for i in np.flatnonzero(~statistics.pixels.any(axis=0)):
        yield f"no pixel of {split} has the class {i}, {dataset.class_names[i]}{remedy}"


def _empty(split: ReadSplit) -> Iterator[str]:
    """Yield a line on samples without a single label."""
    labelled = split.statistics.pixels.any(axis=1)
    names = [split.samples.labels_name(i) for i in split.good if not labelled[i]]
    if names:
        yield f"label maps of {split.name} without any label ({len(names)}): {_some(names)}"


def _turned(split: ReadSplit) -> Iterator[str]:
    """Yield a line on images that other programs show turned: labels may have been drawn so."""
    names = turned_names(split.samples, split.good)
    if names:
        what = "images whose EXIF orientation, which is not applied, turns them"
        yield f"{what} ({len(names)}): {_some(names)}"


def turned_names(samples: Samples, indices: Iterable[int]) -> list[str]:
    """Return the names of the images, among some, that other programs show turned."""
    return [samples.image_name(i) for i in indices if _is_turned(samples, i)]


def _is_turned(samples: Samples, index: int) -> bool:
    if isinstance(samples, FileSamples):  # of which not all is read again
        return is_turned(samples.images[index])
    return is_turned(samples.read(tf.constant(index))[0].numpy())


def _equal(one: ReadSplit, other: ReadSplit) -> Iterator[str]:
    """Yield a line on images that are there twice: in a split, or in both."""
    ours, theirs = _places(one), _places(other)
    if one is other:
        groups = [names for names in ours.values() if names[1:]]
        where = f"twice in {one.name}"
    else:
        groups = [ours[key] + theirs[key] for key in ours if key in theirs]
        where = f"in {one.name} and in {other.name}"
    if groups:
        # A file that is in both lists has the same name twice.
        equal = [" = ".join(dict.fromkeys(names)) for names in groups]
        yield f"images that are {where} ({len(groups)}): {_some(equal)}"


def _places(split: ReadSplit) -> dict[int, list[str]]:
    """Return the names of the images by their fingerprints."""
    places = {}
    for i in split.good:
        fingerprint = int(split.statistics.fingerprints[i])
        places.setdefault(fingerprint, []).append(split.samples.image_name(i))
    return places


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if names[NAMED:] else ""
    return ", ".join(names[:NAMED]) + more
