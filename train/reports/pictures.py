"""Pictures of label maps: palette, overlay, contact sheet, legend."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train.common.files import whole_file
from train.data.decoding.palette import IGNORED, Color, color_table

IGNORED_COLOR = (255, 255, 255)
MARGIN = 8
NO_CHARACTER = "\U0010ffff"
CELL_WIDTH = 640


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG: an older one stays until the new one is whole."""
    with whole_file(path) as unfinished:
        picture.save(unfinished, format="PNG")


def palette_image(ids: np.ndarray, colors: Sequence[Color]) -> Image.Image:
    """Make a palette picture of ids uint8 `[H, W]`: its indices are the ids."""
    picture = Image.fromarray(ids)
    picture.putpalette(color_table(colors, IGNORED_COLOR).tobytes())
    return picture


def colorize(ids: np.ndarray, colors: Sequence[Color]) -> np.ndarray:
    """Return ids `[H, W]` in their colors, uint8 `[H, W, 3]`; ignored pixels are white."""
    return color_table(colors, IGNORED_COLOR)[ids]


def overlay(image: np.ndarray, ids: np.ndarray, colors: Sequence[Color]) -> np.ndarray:
    """Mix an image uint8 `[H, W, 3]` with the colors of its ids; ignored pixels show the image."""
    mixed = (image.astype(np.uint16) + colorize(ids, colors)) // 2
    return np.where((ids == IGNORED)[..., np.newaxis], image, mixed).astype(np.uint8)


def with_legend(
    picture: np.ndarray, class_names: Sequence[str], colors: Sequence[Color]
) -> Image.Image:
    """Add the names and colors of classes below a picture."""
    font = legend_font()
    names = [
        name if is_drawable(name, font) else f"class {number}"
        for number, name in enumerate(class_names)
    ]
    width = max(picture.shape[1], *(MARGIN + _width(name, font) for name in names))
    places, height = _flow(names, font, width)
    sheet = Image.new("RGB", (width, picture.shape[0] + height), "white")
    sheet.paste(Image.fromarray(picture))
    draw = ImageDraw.Draw(sheet)
    for name, color, (x, y) in zip(names, colors, places, strict=True):
        y += picture.shape[0]
        draw.rectangle([x, y, x + 12, y + 12], fill=color, outline="black")
        draw.text((x + 17, y - 1), name, fill="black", font=font)
    return sheet


def legend_font() -> ImageFont.FreeTypeFont:
    """Return DejaVu, which has most scripts, where matplotlib brings it; else Pillow's own font."""
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is not None:
        for folder in matplotlib.submodule_search_locations:
            path = Path(folder) / "mpl-data/fonts/ttf/DejaVuSans.ttf"
            if path.is_file():
                return ImageFont.truetype(str(path), size=12)
    return ImageFont.load_default(size=12)


def is_drawable(name: str, font: ImageFont.FreeTypeFont) -> bool:
    """Return whether a font has all characters of a name, instead of boxes for them."""
    box = bytes(font.getmask(NO_CHARACTER))
    return all(c.isspace() or bytes(font.getmask(c)) != box for c in name)


def contact_sheet(
    rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    class_names: Sequence[str],
    colors: Sequence[Color],
) -> Image.Image:
    """Put image, truth and prediction side by side, a row each, with a legend.

    Args:
        rows: (image uint8 `[H, W, 3]`, true ids, predicted ids uint8 `[H, W]`).
        class_names: Names of the classes.
        colors: Their colors.
    """
    cells = [
        [image, colorize(truth, colors), colorize(predicted, colors)]
        for image, truth, predicted in rows
    ]
    return picture_sheet(cells, ("image", "truth", "prediction"), class_names, colors)


def picture_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    class_names: Sequence[str],
    colors: Sequence[Color],
    ignored: str = "ignored",
    cell_width: int = CELL_WIDTH,
) -> Image.Image:
    """Put pictures in columns with titles, wide ones made smaller, and a legend.

    Args:
        rows: Pictures uint8 `[H, W, 3]`, those of a row of one size.
        titles: Of the columns.
        class_names: Names of the classes.
        colors: Their colors.
        ignored: What the legend says of white, the color of what is ignored.
        cell_width: The largest width of a picture.
    """
    cells = [[_at_most(picture, cell_width) for picture in row] for row in rows]
    height = max(row[0].shape[0] for row in cells) + MARGIN
    width = max(row[0].shape[1] for row in cells) + MARGIN
    sheet = np.full([20 + height * len(cells), MARGIN + width * len(titles), 3], 255, np.uint8)
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            y, x = 20 + i * height, MARGIN + j * width
            sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    picture = with_legend(sheet, [*class_names, ignored], [*colors, IGNORED_COLOR])
    draw = ImageDraw.Draw(picture)
    for j, title in enumerate(titles):
        font = ImageFont.load_default(size=12)
        draw.text((MARGIN + j * width, 3), title, fill="black", font=font)
    return picture


def _at_most(picture: np.ndarray, width: int) -> np.ndarray:
    if picture.shape[1] <= width:
        return picture
    size = (width, max(round(picture.shape[0] * width / picture.shape[1]), 1))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def _width(name: str, font: ImageFont.FreeTypeFont) -> int:
    """Return the width of an entry of a legend, with the space behind it."""
    return 17 + int(font.getlength(name)) + 2 * MARGIN


def _flow(
    names: Sequence[str], font: ImageFont.FreeTypeFont, width: int
) -> tuple[list[tuple[int, int]], int]:
    """Place the legend's entries, broken into lines; return the places and their height."""
    places, x, y = [], MARGIN, MARGIN
    for name in names:
        needed = _width(name, font)
        if x > MARGIN and x + needed > width:
            x, y = MARGIN, y + 18
        places.append((x, y))
        x += needed
    return places, y + 18 + MARGIN
