"""Scenes on disk, in the layout of PASCAL VOC."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from train.scenes.classes import COLOURS, IGNORED, IGNORED_COLOUR
from train.scenes.render import render


def write(
    root: Path,
    *,
    train: int = 320,
    val: int = 80,
    height: int = 144,
    width: int = 192,
    seed: int = 0,
) -> None:
    """Write a dataset of scenes in the layout of PASCAL VOC, all of it or nothing.

    Args:
        root: the folder to make; it must not exist yet.
        train, val: how many scenes each split gets.
        height, width: their size in pixels.
        seed: the number of the first scene; the others follow.

    Raises:
        OSError: if `root` holds something already.
    """
    root = Path(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    # A sibling, so that the last step is one rename on one file system.
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as folder:
        unfinished = Path(folder) / root.name
        _write_splits(unfinished, {"train": train, "val": val}, (height, width), seed)
        unfinished.rename(root)


def _write_splits(root: Path, counts: dict[str, int], size: tuple[int, int], seed: int) -> None:
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(COLOURS)] = COLOURS
    palette[IGNORED] = IGNORED_COLOUR
    for split, count in counts.items():
        names = []
        for _ in range(count):
            names.append(f"scene_{seed:06d}")
            image, labels = render(seed, *size)
            Image.fromarray(image).save(root / "JPEGImages" / f"{names[-1]}.jpg", quality=90)
            indexed = Image.fromarray(labels)
            indexed.putpalette(palette.tobytes())
            indexed.save(root / "SegmentationClass" / f"{names[-1]}.png")
            seed += 1
        lines = "".join(f"{name}\n" for name in names)
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(lines)
