"""One pass over a split: decodes and checks every sample, and counts what it holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from train.common.errors import SeveralFaultsError, UserError
from train.common.progress import track
from train.data.decoding.palette import IGNORED
from train.data.samples.decode import decode_sample, find_fault
from train.data.samples.samples import Samples


@dataclass(frozen=True)
class SplitStatistics:
    """What the samples of a split hold.

    Args:
        pixels: Pixels of each class, int64 `[N, C]`; zeros where the sample is wrong.
        ignored: Pixels without a label, int64 `[N]`.
        sizes: Height and width, int64 `[N, 2]`.
        fingerprints: Of the encoded images, uint64 `[N]`: equal files have equal ones.
        labels_fingerprints: Of the encoded label maps, uint64 `[N]`.
        faults: What is wrong with a sample, by its number.
    """

    pixels: np.ndarray
    ignored: np.ndarray
    sizes: np.ndarray
    fingerprints: np.ndarray
    labels_fingerprints: np.ndarray
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[np.ndarray, ...]:
        """The arrays, in the order of the arguments."""
        prints = (self.fingerprints, self.labels_fingerprints)
        return self.pixels, self.ignored, self.sizes, *prints

    def subset(self, indices: Sequence[int]) -> "SplitStatistics":
        """Return the statistics of some samples, none of which is wrong."""
        return type(self)(*(column[list(indices)] for column in self.columns))

    def joined(self, others: Sequence["SplitStatistics"]) -> "SplitStatistics":
        """Return the statistics of these samples and after them others, none of which is wrong."""
        columns = zip(*(each.columns for each in (self, *others)), strict=True)
        return type(self)(*map(np.concatenate, columns))


@dataclass(frozen=True)
class ClassCounts:
    """Counts of a split by class, each int64 `[C]`.

    Args:
        pixels: Pixels of the class.
        image_pixels: Labelled pixels of the images in which it occurs.
        images: Number of these images.
    """

    pixels: np.ndarray
    image_pixels: np.ndarray
    images: np.ndarray


def class_counts(statistics: SplitStatistics) -> ClassCounts:
    """Return the counts of all samples together."""
    occurs = statistics.pixels > 0
    return ClassCounts(
        pixels=statistics.pixels.sum(axis=0),
        image_pixels=occurs.T @ statistics.pixels.sum(axis=1),
        images=occurs.sum(axis=0),
    )


def fingerprint(contents: tf.Tensor) -> tf.Tensor:
    """Return 64 bits of a string `[]` that change with it, uint64 `[]`."""
    return tf.bitcast(tf.fingerprint(contents[tf.newaxis])[0], tf.uint64)


def collect_statistics(
    samples: Samples, num_classes: int, what: str = "checking"
) -> SplitStatistics:
    """Decode, check and count every sample, in parallel; show the progress.

    Args:
        samples: The samples.
        num_classes: Number of classes.
        what: What the progress bar says.
    """

    def measure(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image, labels = samples.read(index)
        _, ids = decode_sample(image, labels, samples)
        counts = tf.math.bincount(tf.cast(tf.reshape(ids, [-1]), tf.int32), minlength=IGNORED + 1)
        size = tf.cast(tf.shape(ids), tf.int64)
        return index, counts, size, fingerprint(image), fingerprint(labels)

    stream = tf.data.Dataset.range(len(samples)).map(measure, num_parallel_calls=tf.data.AUTOTUNE)
    pixels = np.zeros([len(samples), IGNORED + 1], np.int64)
    sizes = np.zeros([len(samples), 2], np.int64)
    fingerprints = np.zeros([2, len(samples)], np.uint64)
    wrong = set(range(len(samples)))
    # An error names neither the sample nor the reason, so what is missing is read again.
    stream = stream.ignore_errors().prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
    for index, *row in track(stream, what, len(samples)):
        pixels[index], sizes[index], *fingerprints[:, index] = row
        wrong.discard(int(index))
    faults = {index: find_fault(samples, index) for index in sorted(wrong)}
    faults = {
        index: fault or f"{samples.image_name(index)}: could be read only when tried again"
        for index, fault in faults.items()
    }
    return SplitStatistics(
        pixels[:, :num_classes], pixels[:, IGNORED], sizes, *fingerprints, faults
    )


def list_skipped(faults: Sequence[str]) -> None:
    """Print what is wrong with the samples that were left out, a line each."""
    for fault in faults:
        print(f"skipped: {fault}")


def validate_samples(
    samples: Samples, num_classes: int, *, skip: bool = False
) -> tuple[Samples, SplitStatistics, list[str]]:
    """Return the samples that are right, what they hold, and what is wrong with the others.

    Args:
        samples: The samples.
        num_classes: Number of classes.
        skip: Whether wrong samples are left out; otherwise the first one is an error.

    Raises:
        UserError: A sample is wrong, or none is left.
    """
    result = collect_statistics(samples, num_classes)
    faults = list(result.faults.values())
    if not faults:
        return samples, result, []
    if not skip:
        raise SeveralFaultsError(faults)
    good = [index for index in range(len(samples)) if index not in result.faults]
    if not good:
        raise UserError(f"no sample is left of {len(samples)}: {faults[0]}")
    return samples.subset(good), result.subset(good), faults
