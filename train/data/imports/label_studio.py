"""Label Studio's "brush labels to PNG": a mask for each region, and the tasks as JSON.

The masks are called `task-N-annotation-N-by-USER-TAG-LABEL-N.png`, which does not say of which
image they are: the export "JSON" (or "JSON-MIN") of the same project does; it must lie beside them.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np

from train.common.errors import UserError
from train.data.decoding.images import IMAGE_SUFFIXES
from train.data.imports.layout import (
    BACKGROUND,
    Export,
    Item,
    Layout,
    Source,
    image_of,
    images_by_name,
    read_picture,
)

MASK = re.compile(
    r"task-(?P<task>\d+)-annotation-(?P<annotation>\d+)-by-[^-]*-[^-]+-(?P<label>.+)-(?P<number>\d+)\.png"
)
# What Label Studio puts before the name of an uploaded file.
PREFIX = re.compile(r"^[0-9a-f]{8}-")


def recognizes(folder: Path) -> bool:
    """Return whether a folder has masks of these names."""
    return any(MASK.fullmatch(path.name) for path in folder.glob("task-*.png"))


def read(source: Source) -> Export:
    """Read the export."""
    folder = source.folder
    masks, annotations = defaultdict(list), {}
    for path in sorted(folder.glob("task-*.png")):
        if found := MASK.fullmatch(path.name):
            task, annotation = int(found["task"]), int(found["annotation"])
            if annotations.setdefault(task, annotation) != annotation:
                raise UserError(
                    f"{path}: task {task} has the annotations {annotations[task]} and {annotation}:"
                    " remove the masks of all but one"
                )
            masks[task].append((int(found["number"]), found["label"], path))
    labels = sorted({label for of_task in masks.values() for _, label, _ in of_task})
    class_names = (BACKGROUND, *(label for label in labels if label != BACKGROUND))
    images = images_by_name([source.images, folder / "images", folder])
    names = _names(folder)
    items = []
    for task, of_task in sorted(masks.items()):
        if task not in names:
            raise UserError(f"{folder}: no task {task} in its JSON, of {of_task[0][2].name}")
        name = next((n for n in names[task] if n in images), names[task][0])
        regions = [(class_names.index(label), path) for _, label, path in sorted(of_task)]
        items.append(
            Item(
                name,
                None,
                image_of(name, images, of_task[0][2]),
                lambda regions=regions: _paint(regions),
            )
        )
    return Export(class_names, tuple(items))


def _names(folder: Path) -> dict[int, list[str]]:
    """Return what the image of each task may be called, without suffix."""
    names = {}
    for path in sorted(folder.glob("*.json")):
        try:
            tasks = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise UserError(f"{path}: expected JSON") from None
        tasks = tasks if isinstance(tasks, list) else []
        for task in (task for task in tasks if isinstance(task, dict) and "id" in task):
            data = task.get("data", task)
            image = next(filter(None, map(_image, data.values())), None)
            if image is not None:
                names[task["id"]] = [image.stem, PREFIX.sub("", image.stem)]
    if not names:
        raise UserError(
            f"{folder}: no JSON of the tasks: export the project as JSON too, into this folder; "
            "the names of the masks do not say of which image they are"
        )
    return names


def _image(value: object) -> PurePosixPath | None:
    """Return the path of an address, such as "/data/upload/1/a%20b.jpg", if it is of an image."""
    path = PurePosixPath(unquote(urlsplit(value).path) if isinstance(value, str) else "")
    return path if path.suffix.lower() in IMAGE_SUFFIXES else None


def _paint(regions: Sequence[tuple[int, Path]]) -> np.ndarray:
    """Paint regions over each other, the later ones over the earlier."""
    ids = None
    for number, path in regions:
        mask = read_picture(path, "L") > 0
        if ids is None:
            ids = np.zeros(mask.shape, np.uint8)
        if mask.shape != ids.shape:
            raise UserError(f"{path}: has another size than the other masks of its task")
        ids[mask] = number
    return ids


LABEL_STUDIO = Layout("label_studio", "Label Studio (brush labels to PNG)", recognizes, read)
