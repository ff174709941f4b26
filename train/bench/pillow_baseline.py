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
    crop_first: bool = False,
) -> float:
    """Measure images a second: read, scaled, padded, cropped, flipped, and batched by eight.

    Args:
        images: Files, taken in a random order.
        labels: Their label maps: indices of a palette, or gray levels.
        table: Class of each index or level, `[256]`.
        crop: Side of the crops.
        scale: Range of the random scale.
        seconds: How long to measure.
        seed: Of the order and of the augmentation.
        crop_first: Whether only what the crop needs is resized, as the stream does it; otherwise
            all, as most training code does.
    """
    random = np.random.default_rng(seed)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        chosen = random.integers(len(images), size=BATCH)
        batch = [
            _sample(images[i], labels[i], table, crop, scale, random, crop_first) for i in chosen
        ]
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
    crop_first: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    image = Image.open(image).convert("RGB")
    labels = Image.fromarray(table[np.asarray(Image.open(labels))].astype(np.uint8))
    factor = random.uniform(*scale)
    if crop_first:
        image, labels = _boxes(image, labels, crop / factor, random)
    size = [max(round(side * factor), 1) for side in image.size]
    image = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    ids = np.asarray(labels.resize(size, Image.Resampling.NEAREST))
    missing = [(0, max(crop - side, 0)) for side in ids.shape]
    image = np.pad(image, [*missing, (0, 0)], constant_values=128)
    ids = np.pad(ids, missing, constant_values=255)
    top, left = (random.integers(max(side - crop, 0) + 1) for side in ids.shape)
    image, ids = (pixels[top : top + crop, left : left + crop] for pixels in (image, ids))
    if random.random() < 0.5:
        image, ids = image[:, ::-1], ids[:, ::-1]
    return image, ids


def _boxes(
    image: Image.Image, labels: Image.Image, side: float, random: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """Cut a box out of both, anywhere, that becomes the crop when it is resized."""
    width, height = (min(round(side), of) for of in image.size)
    left, top = (
        random.integers(of - own + 1) for of, own in zip(image.size, (width, height), strict=True)
    )
    box = (left, top, left + width, top + height)
    return image.crop(box), labels.crop(box)
