"""mmsegmentation's folders: `img_dir/SPLIT` and `ann_dir/SPLIT`, ids without names of classes."""

from pathlib import Path

from train.common.errors import UserError
from train.data.datasets.folder_files import SPLIT_OF
from train.data.decoding.labels import LabelEncoding
from train.data.decoding.palette import IGNORED
from train.data.imports.layout import (
    Export,
    Item,
    Layout,
    Source,
    image_of,
    images_by_name,
    read_ids,
)

IMAGES, LABELS = "img_dir", "ann_dir"


def recognizes(folder: Path) -> bool:
    """Return whether a folder has both."""
    return (folder / IMAGES).is_dir() and (folder / LABELS).is_dir()


def read(source: Source) -> Export:
    """Read the export."""
    folder, names = source.folder, source.class_names
    if names is None:
        raise UserError(f"{folder} does not say what its ids mean: --classes '[road, tree]' does")
    gray = {**{i: i for i in range(len(names))}, IGNORED: IGNORED}
    encoding = LabelEncoding(folder.name, gray, {})
    images = images_by_name([source.images, folder / IMAGES])
    items = []
    for path in sorted((folder / LABELS).rglob("*.png")):
        name = path.relative_to(folder / LABELS).with_suffix("").as_posix()
        first, _, rest = name.partition("/")
        split = SPLIT_OF.get(first.lower()) if rest else None
        items.append(
            Item(
                rest if split else name,
                split,
                image_of(name, images, path),
                lambda path=path: read_ids(path, encoding),
            )
        )
    return Export(names, tuple(items))


MMSEGMENTATION = Layout("mmsegmentation", "mmsegmentation (img_dir, ann_dir)", recognizes, read)
