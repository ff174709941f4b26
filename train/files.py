"""Files and folders that are never seen half-written."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Writes a file: the old one or the new one is there, never a part."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text)
    os.replace(unfinished, path)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name when the block ends, or vanishes if it fails.

    Args:
        folder: Must not exist.

    Raises:
        OSError: The folder holds something already.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A sibling, so that the last step is one rename on one file system.
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as unfinished:
        whole = Path(unfinished) / folder.name
        whole.mkdir()
        yield whole
        whole.rename(folder)
