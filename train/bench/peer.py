"""The peer: Pillow and NumPy, in the order in which most training code does it. No TensorFlow."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

BATCH = 8


def rate(
    images: Sequence[Path],
    labels: Sequence[Path],
    table: np.ndarray,
    crop: int,
    scale: tuple[float, float],
    seconds: float,
    seed: int,
) -> float:
    """Images a second: read, scaled, padded, cropped, flipped, and stacked to batches of eight.

    Args:
        images: Files, taken in a random order.
        labels: Their label maps: indices of a palette, or grey levels.
        table: Class of each index or level, `[256]`.
        crop: Side of the crops.
        scale: Range of the random scale.
        seconds: How long to measure.
        seed: Of the order and of the augmentation.
    """
    random = np.random.default_rng(seed)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        chosen = random.integers(len(images), size=BATCH)
        batch = [_sample(images[i], labels[i], table, crop, scale, random) for i in chosen]
        for column in zip(*batch, strict=True):
            np.stack(column)
        count += BATCH
    return count / (time.perf_counter() - start)


def _sample(
    image: Path,
    labels: Path,
    table: np.ndarray,
    crop: int,
    scale: tuple[float, float],
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    image = Image.open(image).convert("RGB")
    labels = Image.fromarray(table[np.asarray(Image.open(labels))].astype(np.uint8))
    factor = random.uniform(*scale)
    size = [max(round(side * factor), 1) for side in image.size]
    image = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    ids = np.asarray(labels.resize(size, Image.Resampling.NEAREST))
    missing = [(0, max(crop - side, 0)) for side in ids.shape]
    image = np.pad(image, [*missing, (0, 0)], constant_values=128)
    ids = np.pad(ids, missing, constant_values=255)
    top, left = (random.integers(side - crop + 1) for side in ids.shape)
    image, ids = (pixels[top : top + crop, left : left + crop] for pixels in (image, ids))
    if random.random() < 0.5:
        image, ids = image[:, ::-1], ids[:, ::-1]
    return image, ids
