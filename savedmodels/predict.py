"""`python -m savedmodels predict DIR IMAGE… --output DIR`."""

from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf
from jsonargparse import ArgumentParser, Namespace
from rich.progress import track

from savedmodels.archive import SavedSegmenter
from savedmodels.pictures import overlay, palette_image, with_legend
from train.command_line import make_parser
from train.errors import UserError


def predict_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = make_parser(description="Segment images: a palette PNG and an overlay for each.")
    parser.add_argument("model", type=Path, help="Folder of the SavedModel.")
    parser.add_argument("images", type=Path, nargs="+", help="JPEG or PNG files.")
    parser.add_argument("--output", type=Path, required=True, help="Folder of the pictures.")
    return parser


def predict(values: Namespace) -> None:
    """Writes NAME.png (palette, index = class) and NAME_overlay.png for each image."""
    _check_names(values.images)
    images = [_read(path) for path in values.images]
    segmenter = SavedSegmenter(values.model)
    values.output.mkdir(parents=True, exist_ok=True)
    names, colours = segmenter.classes.class_names, segmenter.classes.colours
    for path, image in track([*zip(values.images, images, strict=True)], "segmenting"):
        ids = np.asarray(segmenter.classify(image[tf.newaxis])[0])
        palette_image(ids, colours).save(values.output / f"{path.stem}.png")
        picture = with_legend(overlay(image.numpy(), ids, colours), names, colours)
        picture.save(values.output / f"{path.stem}_overlay.png")
    print(f"{len(images)} palette PNGs and overlays: {values.output}")


def _check_names(paths: list[Path]) -> None:
    twice = [stem for stem, count in Counter(path.stem for path in paths).items() if count > 1]
    if twice:
        raise UserError(f"images must have different names; more than one: {', '.join(twice)}")


def _read(path: Path) -> tf.Tensor:
    if not path.is_file():
        raise UserError(f"no image {path}")
    try:
        contents = tf.io.read_file(str(path))
        return tf.io.decode_image(contents, channels=3, expand_animations=False)
    except tf.errors.OpError:
        raise UserError(f"{path}: cannot be decoded; expected JPEG or PNG") from None
