"""`python -m savedmodels predict DIR IMAGE… --output DIR`."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace

from savedmodels.archive import SavedSegmenter
from train.common.cli import make_parser
from train.common.errors import UserError
from train.common.progress import track
from train.data.datasets.dataset import read_list, stem
from train.data.decoding.errors import DataError
from train.data.decoding.images import IMAGE_SUFFIXES, decode_image
from train.data.decoding.orientation import is_turned
from train.reports.pictures import overlay, palette_image, save, with_legend


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
    parser.add_argument("--output", type=Path, required=True, help="Folder of the pictures.")
    return parser


def run(values: Namespace) -> None:
    """Write NAME.png (palette, index = class) and NAME_overlay.png for each image.

    Raises:
        UserError: An image cannot be read, or two pictures would have the same name, or the list
            names one that is not there.
    """
    images = [image for path in values.images for image in _images(path)]
    if values.list is not None:
        images = _listed(images, values.list)
    outputs = _outputs(images, values.output)
    for path in images:
        _read(path)  # before anything is written, so that a bad image leaves no pictures
        if is_turned(path):
            print(f"{path}: its EXIF orientation, which other programs apply, is not applied")
    segmenter = SavedSegmenter(values.model)
    values.output.mkdir(parents=True, exist_ok=True)
    names, colors = segmenter.classes.class_names, segmenter.classes.colors
    for path, (palette_path, overlay_path) in track(outputs.items(), "segmenting", len(outputs)):
        image = _read(path)
        ids = np.asarray(segmenter.classify(image[tf.newaxis])[0])
        save(palette_image(ids, colors), palette_path)
        save(with_legend(overlay(image.numpy(), ids, colors), names, colors), overlay_path)
    print(f"{len(outputs)} palette PNGs and overlays: {values.output}")


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


def _outputs(images: list[Path], folder: Path) -> dict[Path, tuple[Path, Path]]:
    """Name the two pictures of each image; no two are the same file, and none is an image."""
    outputs = {
        path: (folder / f"{path.stem}.png", folder / f"{path.stem}_overlay.png") for path in images
    }
    uses = Counter(path.resolve() for path in images)
    uses.update(output.resolve() for pair in outputs.values() for output in pair)
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
