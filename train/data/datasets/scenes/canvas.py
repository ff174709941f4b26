"""The camera, the light, and the two pictures a scene is painted into."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

# The picture is painted this many times larger than its labels, then averaged: smooth edges.
OVERSAMPLING = 2

Point = tuple[float, float]
Span = tuple[float, float]
Color = tuple[float, float, float]
# Most colors turn up in several classes.
GRAYS = ((70, 70, 74), (95, 94, 92), (120, 118, 116), (142, 140, 136), (165, 163, 160))
STONES = ((150, 128, 100), (172, 152, 124), (128, 84, 66), (110, 74, 58), (190, 178, 150))
BROWNS = ((96, 72, 48), (118, 90, 60), (80, 66, 52), (134, 108, 74))
GREENS = ((62, 92, 44), (84, 108, 52), (58, 78, 58), (104, 112, 60))
BRIGHTS = ((176, 40, 36), (44, 74, 150), (222, 220, 214), (200, 166, 50), (40, 44, 48))


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number between two others."""
    return low + (high - low) * float(rng.random())


def pick(rng: np.random.Generator, *palettes: Sequence[Color]) -> Color:
    """Draw one color of the palettes, somewhat lighter or darker."""
    colors = [color for palette in palettes for color in palette]
    return shade(colors[int(rng.random() * len(colors))], between(rng, 0.85, 1.15))


def shade(color: Color, factor: float) -> Color:
    """Return the color under `factor` times as much light."""
    red, green, blue = color
    return red * factor, green * factor, blue * factor


def mix(color: Color, other: Color, share: float) -> Color:
    """Return the color with a share of another one."""
    red, green, blue = (a + share * (b - a) for a, b in zip(color, other, strict=True))
    return red, green, blue


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: x metres to the right, y up from the ground, z away from the camera.

    `focal`, `center` and `horizon` are in pixels, `height` above the ground in metres.
    """

    focal: float
    center: float
    horizon: float
    height: float

    def project(self, x: float, y: float, z: float) -> Point:
        """Return the pixel that shows a point of the world."""
        scale = self.focal / z
        return self.center + scale * x, self.horizon + scale * (self.height - y)

    def front(self, x: Span, y: Span, z: float) -> list[Point]:
        """Return the corners of a rectangle that faces the camera."""
        return [self.project(*corner, z) for corner in _corners(x, y)]

    def side(self, x: float, y: Span, z: Span) -> list[Point]:
        """Return the corners of a rectangle that stands along the street."""
        return [self.project(x, *corner) for corner in _corners(y, z)]

    def ground(self, x: Span, z: Span) -> list[Point]:
        """Return the corners of a rectangle on the ground."""
        return [self.project(across, 0.0, away) for across, away in _corners(x, z)]


@dataclass(frozen=True)
class Light:
    """The hour and the weather."""

    sun: float  # -1: from the left, 1: from the right
    shadow: float  # What is left of the light in a cast shadow.
    haze: Color
    visibility: float  # The distance that haze half hides, in metres.

    def facing(self, side: float) -> float:
        """Return how bright a wall on this side of the street is: most across from the sun."""
        return 0.82 - 0.22 * side * self.sun


@dataclass(frozen=True)
class Place:
    """Where a thing stands, from `z` to `end` away; `side` of the street is -1 (left) or 1."""

    x: float
    z: float
    end: float
    side: float


class Canvas:
    """Two pictures painted at once: the colors, and the number of the object at each pixel.

    `classes` holds the class of each number; numbers rise from far to near.
    """

    def __init__(self, camera: Camera, light: Light, height: int, width: int) -> None:
        self.camera = camera
        self.light = light
        self.size = (width, height)
        self.large = (width * OVERSAMPLING, height * OVERSAMPLING)
        self.picture = Image.new("RGB", self.large)
        self.numbers = Image.new("L", self.size)
        self.classes: list[int] = []
        self._haze = 0.0
        self._paint = ImageDraw.Draw(self.picture)
        self._label = ImageDraw.Draw(self.numbers)

    def start(self, class_id: int, depth: float = 0.0) -> None:
        """Begin a new object: what is painted from here on belongs to it."""
        self.classes.append(class_id)
        self._haze = depth / (depth + self.light.visibility)

    def polygon(self, points: Sequence[Point], color: Color | None) -> None:
        """Fill a polygon; with no color it is part of the object, but can be seen through."""
        self._label.polygon([(round(x), round(y)) for x, y in points], fill=self._number)
        if color is not None:
            self.detail(points, color)

    def detail(self, points: Sequence[Point], color: Color) -> None:
        """Fill a polygon in the picture alone."""
        self._paint.polygon(enlarge(points), fill=self._hazed(color))

    def ellipse(self, center: Point, radii: Point, color: Color | None) -> None:
        """Fill an ellipse; with no color it is part of the object, but can be seen through."""
        self._label.ellipse(_box(center, radii, 1), fill=self._number)
        if color is not None:
            self.spot(center, radii, color)

    def spot(self, center: Point, radii: Point, color: Color) -> None:
        """Fill an ellipse in the picture alone."""
        self._paint.ellipse(_box(center, radii, OVERSAMPLING), fill=self._hazed(color))

    def stroke(self, points: Sequence[Point], color: Color, width: float = 1.0) -> None:
        """Draw a line in the picture alone, `width` pixels wide."""
        pixels = max(1, round(width * OVERSAMPLING))
        self._paint.line(enlarge(points), fill=self._hazed(color), width=pixels)

    def ring(self, center: Point, radii: Point, color: Color, width: float) -> None:
        """Draw the outline of an ellipse in the picture alone."""
        pixels = max(1, round(width * OVERSAMPLING))
        box = _box(center, radii, OVERSAMPLING)
        self._paint.ellipse(box, outline=self._hazed(color), width=pixels)

    def darken(self, mask: Image.Image) -> None:
        """Multiply what is painted so far by a gray picture of the same size."""
        self.picture.paste(ImageChops.multiply(self.picture, mask.convert("RGB")))

    @property
    def _number(self) -> int:
        return len(self.classes) - 1

    def _hazed(self, color: Color) -> tuple[int, int, int]:
        red, green, blue = mix(color, self.light.haze, self._haze)
        return min(255, round(red)), min(255, round(green)), min(255, round(blue))


def enlarge(points: Sequence[Point]) -> list[tuple[int, int]]:
    """Return label pixels in the pixels of the larger picture."""
    return [(round(x * OVERSAMPLING), round(y * OVERSAMPLING)) for x, y in points]


def _corners(first: Span, second: Span) -> list[tuple[float, float]]:
    (low, high), (near, far) = first, second
    return [(low, near), (high, near), (high, far), (low, far)]


def _box(center: Point, radii: Point, scale: int) -> list[int]:
    (x, y), (across, up) = center, radii
    return [round(edge * scale) for edge in (x - across, y - up, x + across, y + up)]
