"""The Semantic Boundaries Dataset: label maps of VOC's images that VOC itself does not label."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from train.common.errors import UserError
from train.common.files import whole_folder
from train.common.progress import track
from train.data.datasets.dataset import existing, read_list, stem
from train.data.decoding.errors import DataError
from train.data.decoding.labels import LabelEncoding, decode_labels

SOURCE = "benchmark.tgz of http://home.bharathh.info/pubs/codes/SBD/download.html"
PLACES = ("benchmark_RELEASE/dataset", "SBD/dataset", "SBD")
LARGEST_ID = 20  # VOC's classes; SBD has no ignored pixels


def find(folders: Sequence[Path]) -> Path:
    """Find the folder of the unpacked archive which holds `cls`.

    Args:
        folders: Where the archive may have been unpacked.

    Returns:
        The first there is.

    Raises:
        UserError: There is none.
    """
    for folder in folders:
        for place in PLACES:
            if (folder / place / "cls").is_dir():
                return folder / place
    raise UserError(
        f"trainaug needs the folder {folders[0]}/SegmentationClassAug, or {PLACES[0]}/cls of SBD "
        f"({SOURCE}) in one of {', '.join(map(str, folders))}"
    )


def write_labels(folder: Path, voc: Path, sbd: Path, encoding: LabelEncoding) -> None:
    """Write label maps of VOC's train and of SBD without VOC's val, all or nothing.

    VOC's own are the better ones, and win where both have one. All become PNGs of gray ids.

    Args:
        folder: Where to; it must not exist.
        voc: The folder `VOC2012`.
        sbd: What `find` returns.
        encoding: What VOC's own label maps mean.

    Raises:
        UserError: A list or a label map is missing or damaged.
    """
    if importlib.util.find_spec("scipy") is None:
        raise UserError("SBD's .mat files need SciPy: pip install scipy")
    sources = _sources(voc, sbd)
    try:
        with whole_folder(folder) as unfinished:
            for name, source in track(sources.items(), "writing trainaug", len(sources)):
                ids = _read(source, encoding)
                Image.fromarray(ids).save(unfinished / f"{name}.png")
    except OSError:
        if not folder.is_dir():  # otherwise another process has made it
            raise


def _sources(voc: Path, sbd: Path) -> dict[str, Path]:
    """Return the label map of each name."""
    lists = voc / "ImageSets" / "Segmentation"
    sources = {
        stem(name, place): existing(sbd / "cls" / f"{name}.mat", place)
        for split in ("train", "val")
        for place, name in read_list(sbd / f"{split}.txt")
    }
    for place, name in read_list(lists / "train.txt"):
        sources[stem(name, place)] = existing(voc / "SegmentationClass" / f"{name}.png", place)
    for _, name in read_list(lists / "val.txt"):
        sources.pop(name, None)
    return sources


def _read(path: Path, encoding: LabelEncoding) -> np.ndarray:
    """Read the ids of a label map, uint8 `[H, W]`."""
    try:
        if path.suffix == ".mat":
            return _read_mat(path)
        return decode_labels(path.read_bytes(), encoding).numpy()
    except tf.errors.OpError:
        raise UserError(f"{path}: cannot be decoded") from None
    except DataError as error:
        raise UserError(f"{path}: {error}") from None
    # SciPy raises half a dozen types of exceptions for damaged files.
    except Exception as error:
        raise UserError(f"{path} is no label map of VOC or SBD: {_one_line(error)}") from None


def _read_mat(path: Path) -> np.ndarray:
    from scipy.io import loadmat  # takes half a second

    ids = loadmat(path, variable_names=["GTcls"])["GTcls"]["Segmentation"][0, 0]
    if ids.ndim != 2 or ids.dtype != np.uint8 or not ids.size:
        raise ValueError(
            f"expected GTcls.Segmentation as uint8 [H, W], got {ids.dtype} {ids.shape}"
        )
    if ids.max() > LARGEST_ID:
        raise ValueError(f"expected ids from 0 to {LARGEST_ID}, got {ids.max()}")
    return ids


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
