"""What a file of weights holds, read without a network."""

import contextlib
import io
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from models.class_count import Shape
from models.zip_members import check_members

# Exceptions raised by an invalid, truncated or mismatched weights file.
UNREADABLE = (
    ValueError,
    OSError,
    LookupError,
    RuntimeError,
    MemoryError,
    UserWarning,
    zipfile.BadZipFile,
)

WEIGHT_FILES = (".keras", ".weights.h5")


class StoredWeights(NamedTuple):
    """What a file of weights holds, without what is an optimizer's.

    Attributes:
        shapes: Of the weights.
        layers: Names of the layers that have some; files of Keras 2 tell none.
    """

    shapes: list[Shape]
    layers: set[str]


def read_stored(path: Path) -> StoredWeights:
    """Read shapes and names; damage is one of `UNREADABLE`, which are as many as the readers."""
    import h5py  # installed with Keras; imported here so that building a network does not need it

    stored = StoredWeights([], set())

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or name.startswith("optimizer"):
            return
        if item.shape is None:
            raise ValueError(f"its {name} is a dataset without a shape")
        stored.shapes.append(item.shape)
        layer = item.parent.attrs.get("name")
        if isinstance(layer, str):
            stored.layers.add(layer)

    with contextlib.ExitStack() as stack:
        file: Any = path
        if path.suffix == ".keras":
            archive = stack.enter_context(zipfile.ZipFile(path))
            check_members(archive, path.stat().st_size)
            file = io.BytesIO(archive.read("model.weights.h5"))
        stack.enter_context(h5py.File(file)).visititems(visit)
    return stored
