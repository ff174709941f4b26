"""What an annotation tool's export is: its classes, and a label map for each image."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from train.common.errors import UserError
from train.data.decoding.errors import DataError
from train.data.decoding.images import IMAGE_SUFFIXES
from train.data.decoding.labels import LabelEncoding, decode_labels

BACKGROUND = "background"


@dataclass(frozen=True)
class Item:
    """An image and its label map.

    Args:
        name: Its name, below the split if there are several.
        split: "train", "val" or "test"; None where the export does not say.
        image: The file.
        read: Reads the ids, uint8 `[H, W]`, 255 where ignored.
    """

    name: str
    split: str | None
    image: Path
    read: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Export:
    """What was found in an export.

    Args:
        class_names: Names of the ids 0, 1, ….
        items: What is labelled.
    """

    class_names: tuple[str, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Source:
    """What is imported.

    Args:
        folder: The export, unpacked.
        images: Folder of the images, where the export has none.
        class_names: Names of the classes, where the export has none.
    """

    folder: Path
    images: Path | None = None
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Layout:
    """How a tool writes.

    Args:
        name: What the option calls it.
        tools: Which tools write so.
        recognizes: Whether a folder is one.
        read: Reads the export; a UserError says what is missing.
    """

    name: str
    tools: str
    recognizes: Callable[[Path], bool]
    read: Callable[[Source], Export]


def read_ids(path: Path, encoding: LabelEncoding) -> np.ndarray:
    """Read the ids of a PNG, uint8 `[H, W]`.

    Raises:
        UserError: It is no label map of these classes.
    """
    try:
        return decode_labels(path.read_bytes(), encoding).numpy()
    except DataError as error:
        raise UserError(f"{path}: {error}") from None
    except tf.errors.OpError:
        raise UserError(f"{path}: cannot be decoded") from None


def read_picture(path: Path, mode: str) -> np.ndarray:
    """Read a picture in a mode of Pillow's, uint8 `[H, W]` or `[H, W, 3]`.

    Raises:
        UserError: It is none.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert(mode))
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's, of damaged files
        raise UserError(f"{path}: cannot be read: {error}") from None


def images_by_name(folders: Iterable[Path | None]) -> dict[str, Path]:
    """Return the images of the first folder that is there, by their names without suffix.

    Raises:
        UserError: There is no such folder.
    """
    wanted = [folder for folder in folders if folder is not None]
    for folder in wanted:
        if folder.is_dir():
            files = sorted(folder.rglob("*"))
            images = (path for path in files if path.suffix.lower() in IMAGE_SUFFIXES)
            return {path.relative_to(folder).with_suffix("").as_posix(): path for path in images}
    raise UserError(f"no images in {' or '.join(map(str, wanted))}: --images says where they are")


def image_of(name: str, images: Mapping[str, Path], labels: Path) -> Path:
    """Return the image of a label map.

    Raises:
        UserError: There is none.
    """
    if name not in images:
        raise UserError(f"{labels}: no image {name}.jpg or .png")
    return images[name]
