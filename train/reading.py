"""Images and label maps from files: decoded by what the header says, checked, faults named."""

from collections.abc import Sequence

import tensorflow as tf

from tfsegloss.png import GREY, PALETTE, RGB, png_header
from train.datasets import Dataset, Sample
from train.errors import UserError
from train.palette import IGNORED


class DataError(Exception):
    """What is wrong with a file, without its name."""


def read_sample(
    image_path: tf.Tensor, labels_path: tf.Tensor, dataset: Dataset
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes and checks a sample; in a graph or eagerly.

    Args:
        image_path: JPEG or PNG.
        labels_path: PNG of ids (grey) or of the dataset's colours (palette or RGB).
        dataset: Which ids and colours there are.

    Returns:
        Image uint8 `[H, W, 3]`, and ids uint8 `[H, W]` in [0, classes) or 255 where ignored.

    Raises:
        DataError: In eager mode, what is wrong; in a graph a `tf.errors.InvalidArgumentError`.
    """
    image = tf.io.decode_image(tf.io.read_file(image_path), channels=3, expand_animations=False)
    image = tf.ensure_shape(image, [None, None, 3])
    ids = decode_labels(tf.io.read_file(labels_path), dataset)
    image_size, labels_size = tf.shape(image)[:2], tf.shape(ids)
    _require(
        tf.reduce_all(image_size == labels_size),
        "the image is {} (height, width), its label map {}",
        image_size,
        labels_size,
    )
    return image, ids


def decode_labels(contents: tf.Tensor, dataset: Dataset) -> tf.Tensor:
    """Ids uint8 `[H, W]` of a PNG: grey levels are ids, colours are looked up."""
    is_png, depth, colour_type = png_header(contents)
    _require(is_png, "the label map is no PNG")
    is_grey = colour_type == GREY
    # Of grey TensorFlow stretches 1 to 4 bits silently.
    _require(
        (is_grey & (depth == 8)) | (colour_type == RGB) | (colour_type == PALETTE),
        "a label map must be 8-bit grey, palette or RGB; PNG colour type {}, {} bits",
        colour_type,
        depth,
    )
    return tf.cond(
        is_grey,
        lambda: _ids_of_grey(tf.io.decode_png(contents, channels=1)[..., 0], dataset),
        lambda: _ids_of_colours(tf.io.decode_png(contents, channels=3), dataset),
    )


def _ids_of_grey(grey: tf.Tensor, dataset: Dataset) -> tf.Tensor:
    ignored = tf.reduce_any(grey[..., tf.newaxis] == [*dataset.ignored_ids, IGNORED], axis=-1)
    wrong = ~ignored & (grey >= dataset.classes)
    _require(
        ~tf.reduce_any(wrong),
        f"label ids must be in [0, {dataset.classes}) or {(*dataset.ignored_ids, IGNORED)}, "
        "found {}",
        tf.unique(tf.boolean_mask(grey, wrong))[0],
    )
    return tf.where(ignored, tf.constant(IGNORED, tf.uint8), grey)


def _ids_of_colours(rgb: tf.Tensor, dataset: Dataset) -> tf.Tensor:
    table = {_key(colour): i for i, colour in enumerate(dataset.colours)}
    table |= dict.fromkeys(map(_key, dataset.ignored_colours), IGNORED)
    keys = tf.constant(sorted(table))
    ids = tf.constant([table[key] for key in sorted(table)], tf.uint8)
    red, green, blue = tf.unstack(tf.cast(rgb, tf.int32), axis=-1)
    pixels = red * 65536 + green * 256 + blue  # [H, W]
    place = tf.searchsorted(keys, tf.reshape(pixels, [-1]))
    place = tf.reshape(tf.minimum(place, len(table) - 1), tf.shape(pixels))
    unknown = tf.gather(keys, place) != pixels
    first = tf.where(unknown)[:1]  # [0 or 1, 2]
    _require(
        ~tf.reduce_any(unknown),
        f"no class of {dataset.name} has the colour {{}} of pixel {{}} (row, column)",
        tf.gather_nd(rgb, first),
        first,
    )
    return tf.gather(ids, place)


def _key(colour: Sequence[int]) -> int:
    red, green, blue = colour
    return red * 65536 + green * 256 + blue


def _require(condition: tf.Tensor, message: str, *values: tf.Tensor) -> None:
    """Eagerly an error with the values in the message's places; in a graph an assertion."""
    if not tf.executing_eagerly():
        tf.debugging.Assert(condition, [message, *values])
    elif not condition:
        raise DataError(message.format(*(", ".join(map(str, _plain(v))) for v in values)))


def _plain(value: tf.Tensor) -> list:
    return tf.reshape(value, [-1]).numpy().tolist()


def verify(samples: Sequence[Sample], dataset: Dataset) -> None:
    """Decodes and checks every file.

    Raises:
        UserError: The first sample that is wrong, and what is wrong with it.
    """
    try:
        for _ in read_all(samples, dataset):
            pass
    except tf.errors.OpError:
        name_fault(samples, dataset)
        raise


def read_all(samples: Sequence[Sample], dataset: Dataset) -> tf.data.Dataset:
    """Every (image, ids) in order, decoded in parallel."""
    return paths(samples).map(
        lambda image, labels: read_sample(image, labels, dataset),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def paths(samples: Sequence[Sample]) -> tf.data.Dataset:
    """The (image, labels) paths as strings."""
    images, labels = zip(*samples, strict=True)
    return tf.data.Dataset.from_tensor_slices(([*map(str, images)], [*map(str, labels)]))


def name_fault(samples: Sequence[Sample], dataset: Dataset) -> None:
    """Finds the sample that made reading fail: an op's message does not say which file it read.

    Raises:
        UserError: The first sample that is wrong; nothing is raised where all are right.
    """
    for sample in samples:
        try:
            read_sample(str(sample.image), str(sample.labels), dataset)
        except DataError as error:
            raise UserError(f"{sample.labels}: {error} (image {sample.image})") from None
        except tf.errors.OpError:
            raise UserError(f"{_broken(sample)}: cannot be decoded") from None


def _broken(sample: Sample) -> str:
    """Which of the two files does not decode."""
    try:
        tf.io.decode_image(tf.io.read_file(str(sample.image)), channels=3, expand_animations=False)
    except tf.errors.OpError:
        return str(sample.image)
    return str(sample.labels)
