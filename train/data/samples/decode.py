"""Images and label maps: decoded by what their headers say, checked, faults named."""

import math
import re
import time

import tensorflow as tf

from train.common.errors import UserError
from train.data.decoding.errors import DataError
from train.data.decoding.images import decode_image, require_size
from train.data.decoding.labels import decode_labels
from train.data.decoding.orientation import is_turned
from train.data.samples.samples import Samples


def decode_sample(
    image: tf.Tensor, labels: tf.Tensor, samples: Samples
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode and check an encoded sample; in a graph or eagerly.

    Args:
        image: JPEG or PNG.
        labels: PNG of ids (gray) or of the dataset's colors (palette or RGB).
        samples: Where they come from.

    Returns:
        Image uint8 `[H, W, 3]`, and ids uint8 `[H, W]` in [0, num_classes) or 255 where ignored.

    Raises:
        DataError: In eager mode, what is wrong; in a graph a `tf.errors.InvalidArgumentError`.
    """
    image = decode_image(image)
    ids = decode_labels(labels, samples.encoding)
    require_size(tf.shape(image)[:2], tf.shape(ids))
    return image, ids


def read_all(samples: Samples) -> tf.data.Dataset:
    """Return every (image, ids) in order, decoded in parallel."""
    return tf.data.Dataset.range(len(samples)).map(
        lambda index: decode_sample(*samples.read(index), samples),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def may_be_of_a_file(error: tf.errors.OpError) -> bool:
    """Return whether a file may be why TensorFlow failed: not the memory, nor another process."""
    others = (
        tf.errors.ResourceExhaustedError,
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
    )
    return not isinstance(error, others)


def raise_first_fault(samples: Samples, seconds: float = math.inf) -> None:
    """Find the sample that made reading fail: an op's message does not say which it read.

    Args:
        samples: The samples.
        seconds: How long to look for it at most, where other processes wait.

    Raises:
        UserError: The first sample that is wrong; nothing is raised where all are right.
    """
    end = time.monotonic() + seconds
    for index in range(len(samples)):
        if fault := find_fault(samples, index):
            raise UserError(fault)
        if time.monotonic() > end:
            return


def find_fault(samples: Samples, index: int) -> str | None:
    """Say what is wrong with a sample, with the names of its files; None where it is right.

    Args:
        samples: The samples.
        index: Which of them.
    """
    image_name, labels_name = samples.image_name(index), samples.labels_name(index)
    try:
        image, labels = samples.read(tf.constant(index))
    except DataError as error:
        return f"{image_name}: {error}"
    except tf.errors.OpError as error:
        return f"{image_name}: cannot be read: {reason(error)}"
    for name, contents in ((image_name, image), (labels_name, labels)):
        if not tf.strings.length(contents):
            return f"{name}: the file is empty"
    try:
        decode_image(image)
    except DataError as error:
        return f"{image_name}: {error}"
    except tf.errors.OpError:
        return f"{image_name}: cannot be decoded"
    try:
        decode_sample(image, labels, samples)
    except DataError as error:
        turned = ", whose EXIF orientation is not applied" if is_turned(image.numpy()) else ""
        return f"{labels_name}: {error} (image {image_name}{turned})"
    except tf.errors.OpError:
        return f"{labels_name}: cannot be decoded"
    return None


def reason(error: tf.errors.OpError) -> str:
    """Return what an operation says, without which one it is: "FILE; Permission denied"."""
    return re.sub(r"^\{\{.*?\}\} | \[Op:\w+\].*$", "", error.message)
