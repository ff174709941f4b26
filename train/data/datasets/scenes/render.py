"""One scene from its seed: planned, painted from far to near, then developed like a photograph.

Color says little about the class on purpose (gray houses, roads, pavements and cars under a random
light); position, shape and texture tell the classes apart.

The same seed gives the same bytes on every machine: only the generator's `random` and `integers`,
and sums and products, decide a pixel. `normal` or `exp` may differ in the last bit.
"""

from collections.abc import Sequence

import numpy as np

from train.data.datasets.scenes.canvas import OVERSAMPLING, Camera, Canvas, Light, between
from train.data.datasets.scenes.setting import (
    Street,
    paint_backdrop,
    paint_ground,
    paint_shadows,
    paint_sky,
)
from train.data.datasets.scenes.street import plan
from train.data.decoding.palette import IGNORED

# Grain of each class's surface, in gray levels: smooth skies and cars, rough asphalt and leaves.
GRAIN = np.array([1, 3, 2, 6, 3, 9, 2, 4, 2, 3, 3], np.float32)


def render(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Render one scene.

    Args:
        seed: The scene's number.
        height, width: The size in pixels.

    Returns:
        the image, uint8 [height, width, 3], and the labels, uint8 [height, width]: the index of the
        class in `CLASS_NAMES`, or `IGNORED` on the contours between objects.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    canvas = Canvas(_aim(rng, height, width), _light(rng), height, width)
    right, wide = between(rng, 2.8, 5.0), between(rng, 6.8, 8.2)
    street = Street(right - wide, right, between(rng, 2.6, 4.2))
    things = sorted(plan(rng, street), key=lambda thing: (thing.row, -thing.place.z))
    paint_sky(canvas, rng)
    paint_backdrop(canvas, rng)
    paint_ground(canvas, rng, street)
    paint_shadows(canvas, rng, street, [thing.shadow for thing in things if thing.shadow])
    for thing in things:
        thing.paint(canvas, rng, thing.place)
    return _develop(canvas, rng), label(np.asarray(canvas.numbers), canvas.classes)


def _aim(rng: np.random.Generator, height: int, width: int) -> Camera:
    return Camera(
        focal=width * between(rng, 0.85, 1.05),
        center=width * between(rng, 0.4, 0.6),
        horizon=height * between(rng, 0.42, 0.52),
        height=between(rng, 1.5, 2.0),
    )


def _light(rng: np.random.Generator) -> Light:
    gray = between(rng, 150.0, 225.0)
    return Light(
        sun=between(rng, -1.0, 1.0),
        shadow=between(rng, 0.45, 0.85),
        haze=(gray * between(rng, 0.9, 1.0), gray, gray * between(rng, 0.95, 1.1)),
        visibility=between(rng, 60.0, 300.0),
    )


def label(numbers: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Return the class of each pixel's object; pixels that touch a nearer object are ignored.

    Taking the contour from the object behind keeps thin things at their full width.

    Args:
        numbers: The object at each pixel [height, width], numbered from far to near.
        classes: The class of each object.
    """
    labels = np.array(classes, np.uint8)[numbers]
    behind = np.zeros(numbers.shape, bool)
    behind[1:] |= numbers[1:] < numbers[:-1]
    behind[:-1] |= numbers[:-1] < numbers[1:]
    behind[:, 1:] |= numbers[:, 1:] < numbers[:, :-1]
    behind[:, :-1] |= numbers[:, :-1] < numbers[:, 1:]
    labels[behind] = IGNORED
    return labels


def _develop(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Apply exposure, color cast, a gradient across the picture, blur and grain."""
    values = np.asarray(canvas.picture.reduce(OVERSAMPLING), np.float32)
    height, width, _ = values.shape
    exposure = between(rng, 0.65, 1.25)
    warm, green = between(rng, 0.85, 1.15), between(rng, 0.94, 1.06)
    cast = np.array([warm, green, 2.0 - warm], np.float32) * exposure
    across = 1.0 + between(rng, -0.25, 0.25) * (np.arange(width, dtype=np.float32) / width - 0.5)
    down = 1.0 + between(rng, -0.4, 0.4) * (np.arange(height, dtype=np.float32) / height - 0.5)
    values = values * cast * (down[:, None] * across)[..., None]
    values = _soften(values, between(rng, 0.0, 0.3))
    grain = GRAIN[np.array(canvas.classes)[np.asarray(canvas.numbers)]] * between(rng, 0.7, 1.3)
    values += (grain * _noise(rng, (height, width)))[..., None] * exposure
    values += between(rng, 0.5, 2.0) * _noise(rng, values.shape)
    return np.clip(values + 0.5, 0.0, 255.0).astype(np.uint8)


def _soften(values: np.ndarray, share: float) -> np.ndarray:
    """Give each pixel a share of its four neighbors."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return values + share * (0.25 * around - values)


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw noise of mean 0 and deviation about 1, the difference of two uniform bytes."""
    first, second = rng.integers(0, 256, (2, *shape), np.uint8).astype(np.float32)
    return (first - second) / 104.0
