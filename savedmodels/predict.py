"""`python -m savedmodels predict DIR IMAGE… --output DIR`."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace
from PIL import Image

from savedmodels.archive import Classes, SavedSegmenter
from train.common.cli import make_parser
from train.common.errors import UserError
from train.common.progress import track
from train.data.datasets.dataset import read_list, stem
from train.data.datasets.registry import DATASETS
from train.data.decoding.errors import DataError
from train.data.decoding.images import IMAGE_SUFFIXES, decode_image
from train.data.decoding.orientation import is_turned
from train.reports.pictures import overlay, palette_image, save, with_legend

# Of each image: the classes, and the overlay.
PICTURES = (".png", "_overlay.png")
SERVER_IDS = {name: each.server_ids for name, each in DATASETS.items() if each.server_ids}


def parser() -> ArgumentParser:
    """Return the parser of the command."""
    parser = make_parser(description="Segment images: a palette PNG and an overlay for each.")
    parser.add_argument("model", type=Path, help="Folder of the SavedModel.")
    parser.add_argument(
        "images", type=Path, nargs="+", help="JPEG or PNG files, or folders of them."
    )
    parser.add_argument(
        "--list",
        type=Path,
        help="Text file of names without suffix, one a line, like VOC's test.txt: of the images "
        "only those.",
    )
    parser.add_argument(
        "--server_ids",
        type=Literal[tuple(SERVER_IDS)],
        help="Dataset whose server is to score the predictions: instead of both pictures write one "
        "gray PNG for each image, with the ids that the server expects.",
    )
    parser.add_argument("--output", type=Path, required=True, help="Folder of the pictures.")
    return parser


def run(values: Namespace) -> None:
    """Write NAME.png (palette, index = class) and NAME_overlay.png for each image.

    For a server NAME.png (gray, ids of the server) alone: Cityscapes' refuses images that have two.

    Raises:
        UserError: An image cannot be read, or two pictures would have the same name, or the list
            names one that is not there, or the server is for other classes than the model's.
    """
    images = [image for path in values.images for image in _images(path)]
    if values.list is not None:
        images = _listed(images, values.list)
    endings = PICTURES if values.server_ids is None else PICTURES[:1]
    outputs = _outputs(images, values.output, endings)
    for path in images:
        _read(path)  # before anything is written, so that a bad image leaves no pictures
        if is_turned(path):
            print(f"{path}: its EXIF orientation, which other programs apply, is not applied")
    segmenter = SavedSegmenter(values.model)
    if values.server_ids is not None:
        segmenter.classes.require_those_of(DATASETS[values.server_ids])
    values.output.mkdir(parents=True, exist_ok=True)
    for path, paths in track(outputs.items(), "segmenting", len(outputs)):
        image = _read(path)
        ids = np.asarray(segmenter.classify(image[tf.newaxis])[0])
        pictures = _pictures(image.numpy(), ids, segmenter.classes, values.server_ids)
        for picture, output in zip(pictures, paths, strict=True):
            save(picture, output)
    what = "palette PNGs and overlays" if values.server_ids is None else "PNGs of the server's ids"
    print(f"{len(outputs)} {what}: {values.output}")


def _pictures(
    image: np.ndarray, ids: np.ndarray, classes: Classes, server: str | None
) -> list[Image.Image]:
    """Return the palette picture and the overlay of an image, or what a server takes."""
    if server is not None:
        return [Image.fromarray(np.array(SERVER_IDS[server], np.uint8)[ids])]
    shown = overlay(image, ids, classes.colors)
    return [
        palette_image(ids, classes.colors),
        with_legend(shown, classes.class_names, classes.colors),
    ]


def _images(path: Path) -> list[Path]:
    """Return a file, or the images in a folder."""
    if not path.is_dir():
        return [path]
    # File managers leave files with a leading dot beside pictures.
    images = sorted(
        each
        for each in path.iterdir()
        if each.suffix.lower() in IMAGE_SUFFIXES and not each.name.startswith(".")
    )
    if not images:
        raise UserError(f"{path}: no {', '.join(IMAGE_SUFFIXES)} in this folder")
    return images


def _listed(images: list[Path], names: Path) -> list[Path]:
    """Return the images that a list names, in its order."""
    lines = read_list(names)
    if not lines:
        raise UserError(f"{names}: expected the name of an image on each line, it is empty")
    by_name = defaultdict(list)
    for image in images:
        by_name[image.stem].append(image)
    chosen = {}
    for place, name in lines:
        found = by_name[stem(name, place)]
        if not found:
            raise UserError(f"{place}: no image {name}, with any suffix, among the {len(images)}")
        if len(found) > 1:
            raise UserError(f"{place}: {name} is {' and '.join(map(str, found))}: leave one away")
        if name in chosen:
            raise UserError(f"{place}: {name} is there twice")
        chosen[name] = found[0]
    return [*chosen.values()]


def _outputs(
    images: list[Path], folder: Path, endings: Sequence[str]
) -> dict[Path, tuple[Path, ...]]:
    """Name the pictures of each image; no two are the same file, and none is an image."""
    outputs = {
        path: tuple(folder / f"{path.stem}{ending}" for ending in endings) for path in images
    }
    uses = Counter(path.resolve() for path in images)
    uses.update(output.resolve() for paths in outputs.values() for output in paths)
    twice = [str(path) for path, count in uses.items() if count > 1]
    if twice or len(outputs) < len(images):
        raise UserError(f"written twice, or over an image: {', '.join(twice)}; rename the images")
    return outputs


def _read(path: Path) -> tf.Tensor:
    if not path.is_file():
        raise UserError(f"no image {path}")
    try:
        return decode_image(tf.io.read_file(str(path)))
    except DataError as error:
        raise UserError(f"{path}: {error}") from None
    except tf.errors.OpError:
        raise UserError(f"{path}: cannot be decoded; expected JPEG or PNG") from None
