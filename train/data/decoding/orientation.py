"""EXIF's orientation, by which other programs turn an image, and labels may have been drawn so.

It is not applied, here or in any command: an image's pixels are those of its file.
"""

import io
import warnings
from pathlib import Path
from typing import BinaryIO

from PIL import Image

ORIENTATION = 0x0112  # its tag in EXIF


def is_turned(file: Path | BinaryIO | bytes) -> bool:
    """Return whether a file is a JPEG that other programs show turned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Only the header is read, and only of the format that cameras write.
            source = io.BytesIO(file) if isinstance(file, bytes) else file
            with Image.open(source, formats=["JPEG"]) as image:
                return image.getexif().get(ORIENTATION, 1) != 1
        # Whatever Pillow finds wrong with its EXIF or its size, TensorFlow reads the image.
        except Exception:
            return False
