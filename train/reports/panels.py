"""Pictures of a training: where predictions are wrong, what a loss looks at, which classes mix."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train.data.decoding.palette import IGNORED
from train.reports.pictures import IGNORED_COLOR, is_drawable, legend_font

WRONG = (220, 20, 60)
# From dark to light, of values that are spaced evenly.
HEAT = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))
HEAT_RANGE = 32  # a gradient is drawn from 1/32 of its mean to 32 times it, by its logarithm
WITH_NUMBERS = 32  # the most classes whose shares are written into the cells
NO_PIXELS = (225, 225, 225)


def error_map(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the image pale and gray, with its wrong pixels red and its ignored ones white.

    Args:
        image: uint8 `[H, W, 3]`.
        truth: Ids uint8 `[H, W]`.
        predicted: As the truth.
    """
    gray = image.mean(axis=-1, keepdims=True)
    picture = np.broadcast_to(160 + 0.3 * gray, image.shape)
    picture = np.where((truth != predicted)[..., np.newaxis], WRONG, picture)
    picture = np.where((truth == IGNORED)[..., np.newaxis], IGNORED_COLOR, picture)
    return picture.astype(np.uint8)


def heat_map(gradient: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return where a loss looks: dark is 1/32 of the mean and less, light is 32 times the mean.

    Args:
        gradient: ≥ 0, float `[H, W]`.
        valid: bool `[H, W]`; the others are white.

    Returns:
        uint8 `[H, W, 3]`.
    """
    mean = gradient[valid].mean() if valid.any() else 0.0
    share = gradient / mean if mean > 0 else np.zeros_like(gradient)
    scale = np.log(np.clip(share, 1 / HEAT_RANGE, HEAT_RANGE)) / np.log(HEAT_RANGE) / 2 + 0.5
    places = np.linspace(0, 1, len(HEAT))
    colors = np.stack(
        [np.interp(scale, places, channel) for channel in zip(*HEAT, strict=True)], -1
    )
    return np.where(valid[..., np.newaxis], colors, IGNORED_COLOR).astype(np.uint8)


def confusion_picture(matrix: np.ndarray, class_names: Sequence[str]) -> Image.Image:
    """Draw which share of each class' pixels is taken for which class.

    A row is a true class, and its sum is 1; up to 32 classes its percentages stand in the cells. A
    class without pixels has a gray row.

    Args:
        matrix: Pixels `[C, C]`, rows the truth.
        class_names: Names of the classes.
    """
    count = len(class_names)
    side = 30 if count <= WITH_NUMBERS else 12
    font = _font(10)
    names = [
        name if is_drawable(name, font) else f"class {number}"
        for number, name in enumerate(class_names)
    ]
    margin = max(80, *(int(font.getlength(name)) + 12 for name in names))
    size = margin + side * count + 8
    sheet = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(sheet)
    totals = matrix.sum(axis=1)
    for i, j in np.ndindex(count, count):
        share = matrix[i, j] / totals[i] if totals[i] else None
        x, y = margin + side * j, margin + side * i
        color = NO_PIXELS if share is None else _shade(share, right=i == j)
        draw.rectangle([x, y, x + side - 2, y + side - 2], fill=color)
        if share is not None and share >= 0.005 and count <= WITH_NUMBERS:
            ink = "white" if share > 0.5 else "black"
            middle = x + side / 2 - 1, y + side / 2 - 1
            draw.text(middle, f"{100 * share:.0f}", fill=ink, font=font, anchor="mm")
    for i, name in enumerate(names):
        middle = margin + side * (i + 0.5) - 1
        draw.text((margin - 6, middle), name, fill="black", font=font, anchor="rm")
        upright = _upright(name, font)
        sheet.paste(upright, (int(middle - upright.width / 2), margin - 6 - upright.height))
    draw.text((6, margin - 20), "truth ↓", fill="black", font=font)
    draw.text((6, 6), "predicted →", fill="black", font=font)
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont:
    return legend_font().font_variant(size=size)


def _shade(share: float, *, right: bool) -> tuple[int, ...]:
    """Return white for 0 and blue for 1, or red for what is wrong; small shares are to be seen."""
    full = np.array((8, 64, 129) if right else (165, 15, 21))
    return tuple(np.round(255 + (full - 255) * np.sqrt(share)).astype(int).tolist())


def _upright(name: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Return a name that is read from below."""
    left, top, right, bottom = font.getbbox(name)
    label = Image.new("RGB", (max(int(right), 1), int(bottom) + 1), "white")
    ImageDraw.Draw(label).text((0, 0), name, fill="black", font=font)
    return label.rotate(90, expand=True)
