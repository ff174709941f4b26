"""The one evaluation: whole images, original label size, one confusion matrix."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfsegloss.metrics import confusion
from train.data.datasets.dataset import Dataset
from train.data.decoding.palette import IGNORED
from train.data.samples.decode import may_be_of_a_file, raise_first_fault, read_all
from train.data.samples.samples import Samples
from train.loop.cluster import ALONE, Worker, lost_worker
from train.loop.inference import Classify
from train.loop.meetings import Meetings

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
    worker: Worker = ALONE,
    total: Callable[[np.ndarray], np.ndarray] = lambda matrix: matrix,
) -> Scores:
    """Score a classifier of pixels on all samples.

    Args:
        classify: From images to class ids.
        samples: The samples.
        dataset: Their dataset.
        observe: Sees each sample's number, image, true ids and predicted ids, in order.
        batch_pixels: Images beside each other that have one size are classified together, as many
            as have so many pixels; 0: one at a time.
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
        for first, images, ids in _batches(own, batch_pixels) if numbers else ():
            meetings.reached(first)
            meetings.raise_caught()
            predicted = classify(tf.stack(images))
            matrix += confusion.confusion_matrix(
                tf.stack(ids), predicted, dataset.num_classes, ignore_class=IGNORED
            ).numpy()
            for place, sample in enumerate(zip(images, ids, predicted, strict=True)):
                if observe is not None:
                    observe(numbers[first + place], *(array.numpy() for array in sample))
        # The others may have an image more, or images that take longer.
        meetings.reached(-(-len(samples) // worker.count))
        meetings.raise_caught()
    except tf.errors.OpError as error:
        if may_be_of_a_file(error) and lost_worker(error, worker) is None:
            raise_first_fault(own, worker.seconds_to_explain)
        raise
    return Scores(total(matrix), dataset.class_names, len(samples))


def _batches(
    samples: Samples, most_pixels: int
) -> Iterator[tuple[int, list[tf.Tensor], list[tf.Tensor]]]:
    """Yield images of one size and their ids, and the number of the first."""
    first, images, labels = 0, [], []
    for image, ids in read_all(samples).prefetch(2):
        pixels = ids.shape.num_elements() * (len(images) + 1)
        if images and (image.shape != images[0].shape or pixels > most_pixels):
            yield first, images, labels
            first, images, labels = first + len(images), [], []
        images.append(image)
        labels.append(ids)
    yield first, images, labels
