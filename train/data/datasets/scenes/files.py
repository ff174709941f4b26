"""Scenes on disk, in the layout of PASCAL VOC."""

from pathlib import Path

from PIL import Image

from train.common.files import whole_folder
from train.data.datasets.camvid_classes import COLORS, IGNORED_COLOR
from train.data.datasets.scenes.render import render
from train.data.decoding.palette import color_table


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
        root: The folder to make; it must not exist yet.
        train, val: How many scenes each split gets.
        height, width: Their size in pixels.
        seed: The number of the first scene; the others follow.

    Raises:
        OSError: if `root` holds something already.
    """
    with whole_folder(Path(root)) as folder:
        _write_splits(folder, {"train": train, "val": val}, (height, width), seed)


def _write_splits(root: Path, counts: dict[str, int], size: tuple[int, int], seed: int) -> None:
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    palette = color_table(COLORS, IGNORED_COLOR).tobytes()
    for split, count in counts.items():
        names = []
        for _ in range(count):
            names.append(f"scene_{seed:06d}")
            image, labels = render(seed, *size)
            Image.fromarray(image).save(root / "JPEGImages" / f"{names[-1]}.jpg", quality=90)
            indexed = Image.fromarray(labels)
            indexed.putpalette(palette)
            indexed.save(root / "SegmentationClass" / f"{names[-1]}.png")
            seed += 1
        lines = "".join(f"{name}\n" for name in names)
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(lines)
