"""Made-up files of the sizes of VOC and Cityscapes, about as hard to decode as photographs."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from train.data.datasets.cityscapes import CITYSCAPES, CLASSES, GRAY_OF_IDS
from train.data.datasets.dataset import Dataset
from train.data.datasets.voc import VOC2012, voc_colors
from train.data.decoding.labels import LabelEncoding
from train.data.decoding.palette import IGNORED
from train.data.samples.record_writer import SHARD_MEGABYTES, write_split
from train.data.samples.samples import FileSamples, Samples
from train.data.samples.statistics import validate_samples


@dataclass(frozen=True)
class Setting:
    """A dataset's kind of files, and the crops that are trained on.

    Args:
        dataset: The dataset.
        suffix: Of its images.
        height, width: Their size.
        crops: Sides of the crops.
        share: Number of its files, of what VOC gets.
    """

    dataset: Dataset
    suffix: str
    height: int
    width: int
    crops: tuple[int, ...]
    share: float

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.dataset.name} {self.width}×{self.height} {self.suffix[1:]}"


SETTINGS = (
    Setting(VOC2012, ".jpg", 375, 500, (513, 321), 1.0),
    Setting(CITYSCAPES, ".png", 1024, 2048, (769,), 0.2),
)


def make_up(setting: Setting, count: int, root: Path) -> tuple[FileSamples, Samples]:
    """Write files, and the same as records.

    Args:
        setting: What kind.
        count: How many.
        root: A folder that does not exist.
    """
    records = root / "records"
    records.mkdir(parents=True)
    random = np.random.default_rng(0)
    images, labels = [], []
    for number in range(count):
        images.append(root / f"{number:06d}{setting.suffix}")
        labels.append(root / f"{number:06d}_labels.png")
        image, ids = _photograph(random, setting)
        Image.fromarray(image).save(images[-1], quality=92)
        _label_map(ids, setting.dataset).save(labels[-1])
    files = FileSamples(_encoding(setting.dataset), tuple(images), tuple(labels))
    _, statistics, _ = validate_samples(files, setting.dataset.num_classes)
    class_names = setting.dataset.class_names
    write_split(files, statistics, class_names, "train", records, shard_megabytes=SHARD_MEGABYTES)
    return files, setting.dataset.samples("train", records)


def _photograph(random: np.random.Generator, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Make shapes of all sizes with the noise of a camera, and the class of each place."""
    height, width = setting.height, setting.width
    field = np.zeros([height, width, 3], np.float32)
    for cells in (4, 8, 16, 32, 64, 128):
        coarse = random.normal(0, 160 / cells**0.8, [cells, cells, 3]).astype(np.float32)
        for channel in range(3):
            grown = Image.fromarray(coarse[..., channel]).resize((width, height))
            field[..., channel] += np.asarray(grown)
    ids = _classes(random, setting)
    noisy = field + 127 + random.normal(0, 4, field.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), ids


def _classes(random: np.random.Generator, setting: Setting) -> np.ndarray:
    """Make smooth outlines, few classes in a neighborhood, and some ignored pixels."""
    num_classes, size = setting.dataset.num_classes, (setting.width, setting.height)
    coarse = Image.fromarray(random.normal(0.5, 0.3, [6, 8]).astype(np.float32))
    field = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
    ids = np.clip(field * num_classes, 0, num_classes - 1).astype(np.uint8)
    return np.where(field < 0, IGNORED, ids).astype(np.uint8)


def _label_map(ids: np.ndarray, dataset: Dataset) -> Image.Image:
    """Draw ids as the dataset's files do: with VOC's palette, or as Cityscapes' label ids."""
    if dataset is VOC2012:
        picture = Image.fromarray(ids)
        picture.putpalette(np.array(voc_colors(256), np.uint8).tobytes())
        return picture
    label_ids = np.zeros(256, np.uint8)  # 0: unlabelled
    label_ids[: len(CLASSES)] = [label_id for _, label_id, _ in CLASSES]
    return Image.fromarray(label_ids[ids])


def _encoding(dataset: Dataset) -> LabelEncoding:
    return dataset.encoding if dataset is VOC2012 else replace(dataset.encoding, gray=GRAY_OF_IDS)
