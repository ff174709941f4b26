"""The one evaluation: whole images, original label size, one confusion matrix."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice, pairwise
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfsegloss.metrics import confusion
from train.data.datasets.dataset import Dataset
from train.data.decoding.palette import IGNORED
from train.data.samples.decode import may_be_of_a_file, raise_first_fault, read_all
from train.data.samples.samples import Samples
from train.loop.cluster import ALONE, Worker, lost_worker
from train.loop.distribution import ONE_DEVICE, Devices
from train.loop.inference import Classify
from train.loop.meetings import Meetings

# Images uint8 [B, H, W, 3] and true ids uint8 [B, H, W].
Batch = tuple[tf.Tensor, tf.Tensor]
# Number of the sample, image uint8 [H, W, 3], true ids and predicted ids uint8 [H, W].
Observe = Callable[[int, np.ndarray, np.ndarray, np.ndarray], None]


class Metric(NamedTuple):
    """A number in [0, 1] that a confusion matrix gives.

    Args:
        label: What tables call it.
        of: From a matrix `[C, C]`, rows the truth, to a scalar; NaN where it is not defined.
    """

    label: str
    of: Callable[[np.ndarray], tf.Tensor]


# What training logs, tables show and `metrics.json` holds, by name: a new metric is an entry here
# (and a choice of `trainer.best_by`).
METRICS = {
    "mean_iou": Metric("mean IoU", confusion.mean_iou),
    "pixel_accuracy": Metric("pixel accuracy", confusion.pixel_accuracy),
}


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says.

    Classes absent from both truth and prediction have no IoU and are left out of the mean.

    Args:
        matrix: `[C, C]`, rows the truth.
        class_names: Names of the classes.
        images: Number of images counted.
    """

    matrix: np.ndarray
    class_names: tuple[str, ...]
    images: int

    def scalars(self) -> dict[str, float]:
        """Return the value of each of METRICS, NaN where it is not defined."""
        return {name: float(metric.of(self.matrix)) for name, metric in METRICS.items()}

    @property
    def iou(self) -> dict[str, float | None]:
        """IoU by class name; None for an absent class."""
        values = confusion.iou_per_class(self.matrix).numpy().tolist()
        return dict(zip(self.class_names, map(defined, values), strict=True))

    def as_json(self) -> dict:
        """Return the scores as `metrics.json` holds them; None is what is not defined."""
        scalars = {name: defined(value) for name, value in self.scalars().items()}
        return {**scalars, "iou": self.iou, "images": self.images}


def defined(value: float) -> float | None:
    """Return the value, or None, JSON's null, for NaN, which JSON does not have."""
    return None if math.isnan(value) else value


def evaluate(
    classify: Classify,
    samples: Samples,
    dataset: Dataset,
    observe: Observe | None = None,
    *,
    batch_pixels: int = 0,
    devices: Devices = ONE_DEVICE,
    worker: Worker = ALONE,
    total: Callable[[np.ndarray], np.ndarray] = lambda matrix: matrix,
) -> Scores:
    """Score a classifier of pixels on all samples.

    Args:
        classify: From images to class ids.
        samples: The samples.
        dataset: Their dataset.
        observe: Sees each sample's number, image, true ids and predicted ids, in order.
        batch_pixels: Images beside each other that have one size are classified together, on each
            device as many as have so many pixels; 0: one at a time.
        devices: Those of this worker, which share its images.
        worker: Which of several processes this is: it classifies and observes its share.
        total: Returns the sum of a matrix over the workers.

    Raises:
        UserError: A file is wrong; it is named.
        KeyboardInterrupt: A signal was caught, here or by another worker.
    """
    numbers = range(worker.number, len(samples), worker.count)
    own = samples if worker.count == 1 else samples.subset(numbers)
    matrix = np.zeros([dataset.num_classes] * 2)
    meetings = Meetings(worker, total)
    try:
        # A worker may have no sample at all, where there are fewer than workers.
        done = 0
        for batches in _rounds(own, batch_pixels, devices.count) if numbers else ():
            meetings.reached(done)
            meetings.raise_caught()
            found = devices.map(classify, [images for images, _ in batches])
            for (images, ids), predicted in zip(batches, found, strict=True):
                matrix += confusion.confusion_matrix(
                    ids, predicted, dataset.num_classes, ignore_class=IGNORED
                ).numpy()
                for sample in zip(images, ids, predicted, strict=True):
                    if observe is not None:
                        observe(numbers[done], *(array.numpy() for array in sample))
                    done += 1
        # The others may have an image more, or images that take longer.
        meetings.reached(-(-len(samples) // worker.count))
        meetings.raise_caught()
    except tf.errors.OpError as error:
        if may_be_of_a_file(error) and lost_worker(error, worker) is None:
            raise_first_fault(own, worker.seconds_to_explain)
        raise
    return Scores(total(matrix), dataset.class_names, len(samples))


def _rounds(samples: Samples, most_pixels: int, devices: int) -> Iterator[list[Batch]]:
    """Yield what the devices classify at once: at most one batch for each."""
    batches = _batches(samples, most_pixels, devices)
    while together := list(islice(batches, devices)):
        yield together


def _batches(samples: Samples, most_pixels: int, devices: int) -> Iterator[Batch]:
    """Yield all samples in order, those of one size in equal shares for the devices."""
    for shape, run in groupby(read_all(samples).prefetch(2), key=lambda sample: sample[1].shape):
        most = max(1, most_pixels // shape.num_elements()) * devices
        while taken := list(islice(run, most)):
            shares = min(len(taken), devices)
            ends = [len(taken) * share // shares for share in range(shares + 1)]
            for start, end in pairwise(ends):
                images, ids = zip(*taken[start:end], strict=True)
                yield tf.stack(images), tf.stack(ids)
