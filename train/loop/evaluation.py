"""The one evaluation: whole images, original label size, one confusion matrix."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfsegloss.metrics import confusion
from train.data.datasets.dataset import Dataset
from train.data.decoding.palette import IGNORED
from train.data.samples.decode import raise_first_fault, read_all
from train.data.samples.samples import Samples

# From images uint8 [1, H, W, 3] to class ids uint8 [1, H, W].
Classify = Callable[[tf.Tensor], tf.Tensor]
# Number of the sample, image uint8 [H, W, 3], true ids and predicted ids uint8 [H, W].
Observe = Callable[[int, np.ndarray, np.ndarray, np.ndarray], None]


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

    @property
    def mean_iou(self) -> float:
        """Mean IoU in [0, 1] over the classes that occur; NaN if none does."""
        return float(confusion.mean_iou(self.matrix))

    @property
    def pixel_accuracy(self) -> float:
        """Share of the labelled pixels that are right."""
        return float(confusion.pixel_accuracy(self.matrix))

    @property
    def iou(self) -> dict[str, float | None]:
        """IoU by class name; None for an absent class."""
        values = confusion.iou_per_class(self.matrix).numpy().tolist()
        return dict(zip(self.class_names, map(defined, values), strict=True))

    def as_json(self) -> dict:
        """As `metrics.json` holds it; None is what is not defined."""
        return {
            "mean_iou": defined(self.mean_iou),
            "pixel_accuracy": defined(self.pixel_accuracy),
            "iou": self.iou,
            "images": self.images,
        }


def defined(value: float) -> float | None:
    """The value, or None, JSON's null, for NaN, which JSON does not have."""
    return None if math.isnan(value) else value


def evaluate(
    classify: Classify,
    samples: Samples,
    dataset: Dataset,
    observe: Observe | None = None,
) -> Scores:
    """Scores a classifier of pixels on all samples.

    Args:
        classify: From images to class ids.
        samples: The samples.
        dataset: Their dataset.
        observe: Sees each sample's number, image, true ids and predicted ids, in order.

    Raises:
        UserError: A file is wrong; it is named.
    """
    matrix = np.zeros([dataset.num_classes] * 2)
    try:
        for number, (image, ids) in enumerate(read_all(samples).prefetch(2)):
            predicted = classify(image[tf.newaxis])[0]
            matrix += confusion.confusion_matrix(
                ids[tf.newaxis], predicted[tf.newaxis], dataset.num_classes, ignore_class=IGNORED
            ).numpy()
            if observe is not None:
                observe(number, image.numpy(), ids.numpy(), predicted.numpy())
    except tf.errors.OpError:
        raise_first_fault(samples)
        raise
    return Scores(matrix, dataset.class_names, len(samples))
