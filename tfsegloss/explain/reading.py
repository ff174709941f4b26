"""Labels, logits and images from files, for the command line."""

from pathlib import Path

import numpy as np
import tensorflow as tf

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY_OF_8_BITS = b"\x08\x00"  # bits per channel and color type, bytes 24 and 25 of the header


def read_labels(path: Path) -> np.ndarray:
    """Read ids of a `.npy` file or of an 8-bit gray PNG.

    Raises:
        ValueError: The file is neither.
    """
    if path.suffix == ".npy":
        return read_array(path)
    contents = path.read_bytes()
    if not contents.startswith(PNG_SIGNATURE) or contents[24:26] != GRAY_OF_8_BITS:
        raise ValueError(f"{path}: expected ids in a .npy file or in an 8-bit gray PNG")
    try:
        return tf.io.decode_png(contents, channels=1)[..., 0].numpy()
    except tf.errors.OpError:
        raise ValueError(f"{path}: cannot be decoded") from None


def read_array(path: Path) -> np.ndarray:
    """Read the numbers of a `.npy` file.

    Raises:
        ValueError: The file holds something else.
    """
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, MemoryError):  # a broken header may name any size
        raise ValueError(f"{path}: expected an array of numbers in a .npy file") from None
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{path}: expected an array of numbers in a .npy file")
    return array


def read_image(path: Path) -> np.ndarray:
    """Read uint8 `[H, W, 3]` of a JPEG or PNG.

    Raises:
        ValueError: The file cannot be decoded.
    """
    try:
        return tf.io.decode_image(path.read_bytes(), channels=3, expand_animations=False).numpy()
    except tf.errors.OpError:
        raise ValueError(f"{path}: cannot be decoded; expected JPEG or PNG") from None
