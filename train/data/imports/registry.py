"""The layouts, and what is made of one: own data."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml
from PIL import Image

from train.common.errors import UserError
from train.common.files import whole_folder
from train.common.progress import track
from train.data.datasets.folder import FILE
from train.data.decoding.palette import IGNORED
from train.data.imports.coco_panoptic import COCO_PANOPTIC
from train.data.imports.label_studio import LABEL_STUDIO
from train.data.imports.layout import Export, Item, Layout, Source
from train.data.imports.mmsegmentation import MMSEGMENTATION
from train.data.imports.roboflow import ROBOFLOW
from train.data.imports.voc_masks import VOC_MASKS

# The one list of layouts: a new one is a file and its entry here.
LAYOUTS = {
    layout.name: layout
    for layout in (VOC_MASKS, ROBOFLOW, LABEL_STUDIO, MMSEGMENTATION, COCO_PANOPTIC)
}


def find_layout(folder: Path, name: str | None = None) -> Layout:
    """Return the layout of an export.

    Args:
        folder: The export.
        name: Its layout; None: the one that recognizes it.

    Raises:
        UserError: There is no folder, or none or several layouts recognize it.
    """
    if not folder.is_dir():
        hint = "; unpack it first" if folder.is_file() else ""
        raise UserError(f"no folder {folder}{hint}")
    if name is not None:
        return LAYOUTS[name]
    found = [layout for layout in LAYOUTS.values() if layout.recognizes(folder)]
    if len(found) != 1:
        known = ", ".join(f"{layout.name}: {layout.tools}" for layout in found or LAYOUTS.values())
        which = "several layouts" if found else "no known layout"
        raise UserError(f"{folder} has {which}: --layout says which ({known})")
    return found[0]


def import_labels(source: Source, output: Path, layout: Layout) -> Export:
    """Make own data of an export, all of it or nothing.

    Args:
        source: The export.
        output: Where to; it must not exist.
        layout: How it was written.

    Raises:
        UserError: The output exists, or something in the export is missing or wrong.
    """
    if output.exists():
        raise UserError(f"{output} exists; choose another --output, or remove it")
    if source.images is not None and not source.images.is_dir():
        raise UserError(f"--images: no folder {source.images}")
    export = layout.read(source)
    if source.class_names not in (None, export.class_names):
        raise UserError(
            f"--classes: {source.folder} has names of its own, {', '.join(export.class_names)}"
        )
    if not export.items:
        raise UserError(f"{source.folder}: no label map")
    _check_classes(source.folder, export.class_names)
    several = _has_splits(export.items)
    with whole_folder(output) as unfinished:
        for item in track(export.items, "importing", len(export.items)):
            _write(item, f"{item.split}/{item.name}" if several else item.name, unfinished)
        description = yaml.safe_dump(
            {"classes": [*export.class_names]}, allow_unicode=True, sort_keys=False
        )
        (unfinished / FILE).write_text(description, encoding="utf-8")
    return export


def _check_classes(folder: Path, names: Sequence[str]) -> None:
    if not 2 <= len(names) <= IGNORED:
        raise UserError(f"{folder}: expected 2 to {IGNORED} classes, got {len(names)}")
    for name in names:
        if not isinstance(name, str) or not name or not name.isprintable():
            raise UserError(f"{folder}: expected names of classes, got {name!r}")
        if names.count(name) > 1:
            raise UserError(f"{folder}: the class {name} is there twice")


def _has_splits(items: Sequence[Item]) -> bool:
    """Return whether the export says which images are for validation; one split says nothing."""
    splits = {item.split for item in items}
    if len(splits) == 1:
        return False
    for item in items:
        if item.split is None:
            raise UserError(f"{item.image}: expected it in a split, as others are")
    return True


def _write(item: Item, name: str, folder: Path) -> None:
    image = folder / "images" / f"{name}{item.image.suffix.lower()}"
    labels = folder / "labels" / f"{name}.png"
    if os.path.pardir in Path(item.name).parts or Path(item.name).is_absolute():
        raise UserError(f"{item.image}: expected a name below a folder, got {item.name!r}")
    for path in (image, labels):
        path.parent.mkdir(parents=True, exist_ok=True)
    if labels.exists():
        raise UserError(f"{item.image}: the name {item.name} is there twice")
    shutil.copyfile(item.image, image)
    Image.fromarray(item.read()).save(labels)
