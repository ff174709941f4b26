"""Files and folders that are never seen half-written."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfsegloss.core.command_line import whole_file, write_whole

__all__ = ["whole_file", "whole_folder", "write_whole"]


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
