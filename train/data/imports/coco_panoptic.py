"""COCO's panoptic format: colors are numbers of segments, and a JSON file has their categories."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from train.common.errors import UserError
from train.data.decoding.palette import IGNORED
from train.data.imports.layout import (
    Export,
    Item,
    Layout,
    Source,
    image_of,
    images_by_name,
    read_picture,
)


def recognizes(folder: Path) -> bool:
    """Return whether a folder has such a file, and the folder of its name."""
    return bool(_files(folder))


def read(source: Source) -> Export:
    """Read the export."""
    (path, *more) = _files(source.folder)
    if more:
        raise UserError(f"{source.folder}: {path.name} and {more[0].name}: import each by itself")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        categories = {each["id"]: each["name"] for each in content["categories"]}
        stems = {each["id"]: Path(each["file_name"]).stem for each in content["images"]}
        places = {category: place for place, category in enumerate(categories)}
        annotated = [
            (
                stems[each["image_id"]],
                path.with_suffix("") / each["file_name"],
                {
                    segment["id"]: places[segment["category_id"]]
                    for segment in each["segments_info"]
                },
            )
            for each in content["annotations"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: expected images, annotations and categories as of COCO; "
            f"{type(error).__name__}: {error}"
        ) from None
    images = images_by_name([source.images, source.folder / "images"])
    items = [
        Item(name, None, image_of(name, images, labels), functools.partial(_read, labels, ids))
        for name, labels, ids in annotated
    ]
    return Export(tuple(categories.values()), tuple(items))


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.json"))
    return [path for path in files if path.with_suffix("").is_dir() and "panoptic" in path.name]


def _read(path: Path, ids: Mapping[int, int]) -> np.ndarray:
    """Return the ids of the segments' categories; 0 and unknown segments are ignored."""
    red, green, blue = np.moveaxis(read_picture(path, "RGB").astype(np.int64), -1, 0)
    segments, places = np.unique(red + 256 * green + 256**2 * blue, return_inverse=True)
    table = np.array([ids.get(int(segment), IGNORED) for segment in segments], np.uint8)
    return table[places].reshape(red.shape)


COCO_PANOPTIC = Layout("coco_panoptic", "COCO (panoptic)", recognizes, read)
