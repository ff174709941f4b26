"""Files and folders that are never seen half-written."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tfsegloss.core.command_line import (
    check_writable,
    flush,
    unfinished_path,
    whole_file,
    write_whole,
)
from train.common.errors import UserError

__all__ = ["check_folder", "check_output", "flush", "whole_file", "whole_folder", "write_whole"]


def check_output(path: Path, suffixes: Sequence[str], *inputs: Path) -> None:
    """Refuse, before the work, a file that could not be written after it.

    Args:
        path: The file that `--output` names.
        suffixes: What its name may end in.
        *inputs: Files that it must not overwrite.

    Raises:
        UserError: What is wrong with the path.
    """
    try:
        check_writable(path, suffixes, others=inputs)
    except ValueError as error:
        raise UserError(f"output: {error}") from None


def check_folder(folder: Path, option: str) -> None:
    """Refuse, before the work, a folder that could not be written to, or not be made, after it.

    Args:
        folder: The folder, which may not be there.
        option: Which option names it.

    Raises:
        UserError: What is wrong with it, or with the first above it that is there.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"{option}: {folder}: expected a folder, {there} is a file")
    if not os.access(there, os.W_OK):
        raise UserError(f"{option}: {folder}: the folder {there} cannot be written to")


def require_no_pattern(path: Path, option: str) -> None:
    """Refuse a folder that TensorFlow could write checkpoints to, but not read them from.

    Args:
        path: The folder, as it was given.
        option: Which option names it, for the error message.

    Raises:
        UserError: TensorFlow takes its name for a pattern.
    """
    if set("*?[]\\") & set(str(path)):
        raise UserError(
            f"{option}: {path}: expected a name without * ? [ ] \\, which TensorFlow takes for a "
            "pattern of names when it reads: choose another"
        )


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill, which gets its name when the block ends, or vanishes if it fails.

    Args:
        folder: Must not exist.

    Raises:
        OSError: The folder holds something already.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the final folder: a rename works only within one file system.
    whole = unfinished_path(folder)
    whole.mkdir()
    try:
        yield whole
        for path in [*whole.rglob("*"), whole]:
            flush(path)
        whole.rename(folder)
        flush(folder.parent)
    finally:
        shutil.rmtree(whole, ignore_errors=True)
