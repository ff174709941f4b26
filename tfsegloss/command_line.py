"""What the library's two command lines share: errors in one line, files written whole."""

import argparse
import os
import tempfile
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it, and ends with status 2."""

    def error(self, message: str) -> NoReturn:
        """Ends the program."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file under another name first, so that nobody meets half of it.

    Args:
        path: In a folder that is there.
        content: All of it.
    """
    handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(unfinished, 0o644)  # a temporary file is its owner's alone
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
