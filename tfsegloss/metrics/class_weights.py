"""Weights that make up for classes with few pixels, from counts of labels."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfsegloss.core.checks import check_integer
from tfsegloss.core.targets import encode_targets


def class_counts(
    ids: np.ndarray, num_classes: int, ignore_class: int | Sequence[int] | None = 255
) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels of each class, and the valid pixels of the images in which it occurs.

    Those of several batches are added; for what takes the sums see `median_frequency` and
    `inverse_frequency`.

    Args:
        ids: Ids in [0, num_classes) or ignored: `[H, W]` or `[H, W, 1]` of one image, or
            `[B, H, W]` or `[B, H, W, 1]` of several. Three axes, the last of 1, are one image.
        num_classes: Number of classes C, at least 2.
        ignore_class: Id or ids without label; None: every pixel counts.

    Returns:
        n_c and N_c, int64 `[C]` each: the pixels of class c, and all valid pixels of the images
        with at least one pixel of class c.

    Raises:
        ValueError: An option or a shape is not as above; or an id is out of range, with the ids
            found.

    Example:

    >>> batch = np.array([[[0, 0, 1, 255]], [[0, 0, 0, 0]]])
    >>> [counts.tolist() for counts in class_counts(batch, num_classes=2)]
    [[6, 1], [7, 3]]
    """
    num_classes = check_integer("num_classes", num_classes, 2)
    ids = tf.convert_to_tensor(ids)
    if ids.shape.rank == 2 or (ids.shape.rank == 3 and ids.shape[-1] == 1):
        ids = ids[tf.newaxis]
    targets = encode_targets(ids, num_classes, ignore_class=ignore_class, name="ids")
    if targets.ids is None:
        raise ValueError(
            "`ids` must be (height, width) or (batch, height, width), either with a last axis of 1 "
            f"or without. Received: ids.shape={ids.shape}"
        )
    ids, valid = targets.ids.numpy(), targets.valid.numpy()
    pixels = np.zeros([len(ids), num_classes], np.int64)
    for counts, image, where in zip(pixels, ids, valid, strict=True):
        counts += np.bincount(image[where], minlength=num_classes)
    image_pixels = pixels.sum(axis=1, keepdims=True)  # [B, 1]
    return pixels.sum(axis=0), np.where(pixels > 0, image_pixels, 0).sum(axis=0)


def class_frequencies(pixels: np.ndarray, image_pixels: np.ndarray) -> np.ndarray:
    """Return the share of each class in the images in which it occurs.

    f_c = n_c / N_c

    Args:
        pixels: n_c, `[C]`, from `class_counts`.
        image_pixels: N_c ≥ n_c, `[C]`, from `class_counts`.

    Returns:
        f in [0, 1], float64 `[C]`; 0 for a class that never occurs.

    Raises:
        ValueError: The counts are not as above, or no class occurs.

    Example:

    >>> class_frequencies([6, 1, 0], [12, 4, 0]).tolist()
    [0.5, 0.25, 0.0]

    Reference: Eigen and Fergus, *Predicting depth, surface normals and semantic labels with a
    common multi-scale convolutional architecture*, 2015.
    """
    pixels, image_pixels = (np.asarray(counts, np.float64) for counts in (pixels, image_pixels))
    if pixels.ndim != 1 or pixels.shape != image_pixels.shape:
        raise ValueError(
            "`pixels` and `image_pixels` must be (classes,). Received: "
            f"pixels.shape={pixels.shape}, image_pixels.shape={image_pixels.shape}"
        )
    if not ((pixels >= 0) & (pixels <= image_pixels) & np.isfinite(image_pixels)).all():
        raise ValueError(
            "`pixels` must be ≥ 0 and at most `image_pixels`. Received: "
            f"pixels={pixels.tolist()}, image_pixels={image_pixels.tolist()}"
        )
    if not pixels.any():
        raise ValueError(f"a class must occur. Received: pixels={pixels.tolist()}")
    return np.divide(pixels, image_pixels, out=np.zeros_like(pixels), where=pixels > 0)


def median_frequency(pixels: np.ndarray, image_pixels: np.ndarray) -> np.ndarray:
    """Return weights of classes by median frequency balancing.

    w_c = median_k f_k / f_c, f from `class_frequencies`, the median over the classes that occur: a
    class as frequent as the median weighs 1.

    Args:
        pixels: n_c, `[C]`, from `class_counts`.
        image_pixels: N_c, `[C]`, from `class_counts`.

    Returns:
        w, float64 `[C]`: what losses take as `class_weights`; 0 for a class that never occurs.

    Raises:
        ValueError: The counts are not as above, or no class occurs.

    Example:

    >>> median_frequency([8, 4, 1, 0], [16, 16, 16, 0]).tolist()
    [0.5, 1.0, 4.0, 0.0]

    Reference: Eigen and Fergus, *Predicting depth, surface normals and semantic labels with a
    common multi-scale convolutional architecture*, 2015. N_c counts valid pixels;
    what becomes of a class that never occurs is not in the paper.
    """
    frequencies = class_frequencies(pixels, image_pixels)
    occurs = frequencies > 0
    return _over(np.median(frequencies[occurs]), frequencies)


def inverse_frequency(pixels: np.ndarray, image_pixels: np.ndarray) -> np.ndarray:
    """Return weights of classes by the inverse of their frequency, 1 on average.

    w_c = (1 / f_c) / mean_k (1 / f_k), f from `class_frequencies`, the mean over the classes that
    occur. The ratios are those of `median_frequency`; the scale is not.

    Args:
        pixels: n_c, `[C]`, from `class_counts`.
        image_pixels: N_c, `[C]`, from `class_counts`.

    Returns:
        w, float64 `[C]`: what losses take as `class_weights`; 0 for a class that never occurs.

    Raises:
        ValueError: The counts are not as above, or no class occurs.

    Example:

    >>> inverse_frequency([4, 4, 1, 0], [16, 16, 16, 0]).tolist()
    [0.5, 0.5, 2.0, 0.0]

    Reference: f as in Eigen and Fergus, 2015; the scale keeps the loss in the range
    of the unweighted one.
    """
    inverse = _over(1.0, class_frequencies(pixels, image_pixels))
    return inverse / inverse[inverse > 0].mean()


def _over(numerator: float, frequencies: np.ndarray) -> np.ndarray:
    """Return numerator / frequency, 0 where the frequency is."""
    occurs = frequencies > 0
    return np.divide(numerator, frequencies, out=np.zeros_like(frequencies), where=occurs)
