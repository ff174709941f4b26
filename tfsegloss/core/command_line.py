"""What command lines share: errors in one line, outputs checked before the work, whole files."""

import argparse
import glob
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it, and ends with status 2."""

    def error(self, message: str) -> NoReturn:
        """End the program."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")

    def run(self, work: Callable[[], None]) -> None:
        """Do the work; the user's mistakes and an interrupt end the program with one line.

        Args:
            work: What the program does, its options parsed.
        """
        try:
            work()
        except (ValueError, OSError, ModuleNotFoundError) as error:
            self.error(str(error))
        except KeyboardInterrupt:
            self.exit(130, "interrupted\n")


def require_matplotlib() -> None:
    """Say what to install where matplotlib is missing.

    Raises:
        ModuleNotFoundError: It is.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ModuleNotFoundError("pictures need matplotlib: pip install tfsegloss[plot]")


def check_writable(
    path: Path, suffixes: Sequence[str] = (), *, others: Sequence[Path | None] = ()
) -> None:
    """Refuse, before the work, a file that could not be written after it.

    Args:
        path: The file.
        suffixes: What its name may end in; none: anything.
        others: Files of the same command that it must not overwrite; None stands for no file.

    Raises:
        ValueError: What is wrong with the path.

    Example:

    >>> check_writable(Path("picture.bmp"), [".png", ".jpg"])
    Traceback (most recent call last):
    ...
    ValueError: picture.bmp: expected a name that ends in .png, .jpg
    """
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, it is a folder")
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path}: the folder {path.parent} cannot be written to")
    if path.resolve() in [other.resolve() for other in others if other is not None]:
        raise ValueError(f"{path}: would be overwritten; choose another name for the output")


def unfinished_path(path: Path) -> Path:
    """Return where a file or folder is written before it gets its name.

    What processes of this machine that were killed have left of the same one is removed.
    """
    prefix = f".{path.name}-{platform.node()}-"
    for left in path.parent.glob(f"{glob.escape(prefix)}*"):
        process = left.name.removeprefix(prefix)
        if process.isdecimal() and not _is_alive(int(process)):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
    return path.with_name(f"{prefix}{os.getpid()}")


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # where this would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a file to write, which gets its name when the block ends, or vanishes if it fails.

    Args:
        path: In a folder that is there.
    """
    unfinished = unfinished_path(path)
    try:
        yield unfinished
        flush(unfinished)
        os.replace(unfinished, path)
    except OSError as error:
        if error.filename not in (None, str(unfinished)):
            raise
        # Of a write to a full disk the error has no name.
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        unfinished.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until a file, or a folder's names, are on the disk.

    A file that gets its name before may be empty after a power cut.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file: the old one or the new one is there, never a part.

    Args:
        path: In a folder that is there.
        content: All of it; text in UTF-8.
    """
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
