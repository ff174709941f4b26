"""How the traffic of a street is painted: one function a thing, all with the same signature.

A thing stands at its place and draws its looks from the generator. Lengths are in metres.
"""

import numpy as np

from train.data.datasets.camvid_classes import BICYCLIST, CAR, PEDESTRIAN
from train.data.datasets.scenes.canvas import (
    BRIGHTS,
    BROWNS,
    GRAYS,
    GREENS,
    STONES,
    Canvas,
    Color,
    Place,
    Point,
    Span,
    between,
    pick,
    shade,
)

SKIN = ((206, 166, 138), (150, 108, 84), (96, 68, 54))
# What riders wear to be seen.
VESTS = ((226, 206, 40), (236, 120, 36), (196, 226, 60), (222, 220, 214))
BLACK = (28, 28, 30)
GLASS = (52, 58, 66)
# Half the width of a car, in metres.
HALF_CAR = 0.9


def draw_car(canvas: Canvas, rng: np.random.Generator, place: Place) -> None:
    """Draw a car or a van seen from behind or from the front, and the side it shows."""
    paint, van = pick(rng, GRAYS, BRIGHTS, GREENS[2:3]), rng.random() < 0.2
    waist, roof = (1.1, 2.3) if van else (0.85, between(rng, 1.4, 1.6))
    # Vans are upright, cars have a bonnet or a boot.
    setback = 0.1 if van else between(rng, 0.3, 0.9)
    cabin = (place.z + setback, place.end - 1.0)
    canvas.start(CAR, place.z)
    _draw_wheels(canvas, place)
    _draw_flank(canvas, place, (waist, roof), cabin, paint)
    left, right = place.x - HALF_CAR, place.x + HALF_CAR
    project = canvas.camera.project
    cab = ((left, waist), (left + 0.15, roof), (right - 0.15, roof), (right, waist))
    canvas.polygon([project(x, y, cabin[0]) for x, y in cab], paint)
    pane = (waist + 0.05, roof - 0.15)
    canvas.detail(canvas.camera.front((left + 0.22, right - 0.22), pane, cabin[0]), GLASS)
    deck = ((left, place.z), (left, cabin[0]), (right, cabin[0]), (right, place.z))
    canvas.polygon([project(x, waist, z) for x, z in deck], shade(paint, 1.2))
    canvas.polygon(canvas.camera.front((left, right), (0.3, waist), place.z), shade(paint, 0.85))
    _draw_lamps(canvas, rng, place, waist)


def _inner(place: Place) -> float:
    """Return the flank that the camera sees: the right one of a car on the left."""
    return place.x - HALF_CAR if place.x > 0.0 else place.x + HALF_CAR


def _draw_flank(canvas: Canvas, place: Place, heights: Span, cabin: Span, paint: Color) -> None:
    x, (waist, roof) = _inner(place), heights
    lit = shade(paint, canvas.light.facing(1.0 if place.x > 0.0 else -1.0))
    canvas.polygon(canvas.camera.side(x, (0.3, waist), (place.z, place.end)), lit)
    canvas.polygon(canvas.camera.side(x, heights, cabin), lit)
    panes = (cabin[0] + 0.2, cabin[1] - 0.2)
    canvas.detail(canvas.camera.side(x, (waist, roof - 0.12), panes), BLACK)


def _draw_wheels(canvas: Canvas, place: Place) -> None:
    for x in (place.x - HALF_CAR, place.x + HALF_CAR - 0.25):
        for z in (place.end - 0.9, place.z + 0.1):
            canvas.polygon(canvas.camera.front((x, x + 0.25), (0.0, 0.45), z), BLACK)
    for z in (place.end - 0.9, place.z + 0.8):
        tyre = ((-0.35, 0.2), (-0.2, 0.0), (0.2, 0.0), (0.35, 0.2), (0.0, 0.6))
        points = [canvas.camera.project(_inner(place), y, z + along) for along, y in tyre]
        canvas.polygon(points, BLACK)


def _draw_lamps(canvas: Canvas, rng: np.random.Generator, place: Place, waist: float) -> None:
    """Draw red behind or white in front, a bumper and a number plate."""
    lamp = (190, 44, 40) if rng.random() < 0.5 else (240, 238, 220)
    left, right = place.x - HALF_CAR, place.x + HALF_CAR
    for span in ((left, left + 0.35), (right - 0.35, right)):
        canvas.detail(canvas.camera.front(span, (waist - 0.28, waist - 0.05), place.z), lamp)
    canvas.detail(canvas.camera.front((left, right), (0.3, 0.45), place.z), BLACK)
    plate = canvas.camera.front((place.x - 0.28, place.x + 0.28), (0.46, 0.6), place.z)
    canvas.detail(plate, (226, 222, 190))


def draw_pedestrian(canvas: Canvas, rng: np.random.Generator, place: Place) -> None:
    """Draw legs apart or together, a coat, arms and a head."""
    coat, trousers = pick(rng, BRIGHTS[:4], STONES[4:]), pick(rng, GRAYS[:1], BRIGHTS[4:])
    tall, stride = between(rng, 1.6, 1.9), between(rng, 0.06, 0.3)
    canvas.start(PEDESTRIAN, place.z)

    def outline(*points: Point) -> list[Point]:
        """Return points across from the middle and up in parts of the height, in pixels."""
        return [canvas.camera.project(place.x + x, y * tall, place.z) for x, y in points]

    for leg in (-1.0, 1.0):
        foot = leg * stride
        points = outline((leg * 0.2, 0.5), (foot + 0.1, 0.0), (foot - 0.1, 0.0), (0.0, 0.5))
        canvas.polygon(points, shade(trousers, 1.0 + 0.15 * leg))
    body = ((-0.2, 0.84), (-0.3, 0.78), (-0.34, 0.47), (0.34, 0.47), (0.3, 0.78), (0.2, 0.84))
    canvas.polygon(outline(*body), coat)
    for arm in (-1.0, 1.0):
        points = outline((arm * 0.3, 0.78), (arm * 0.34, 0.47), (arm * 0.22, 0.47))
        canvas.detail(points, shade(coat, 0.65))
    _draw_head(canvas, rng, place, tall)


def _draw_head(canvas: Canvas, rng: np.random.Generator, place: Place, tall: float) -> None:
    radius = 0.15 * canvas.camera.focal / place.z
    x, y = canvas.camera.project(place.x, tall * 0.91, place.z)
    canvas.ellipse((x, y), (radius, radius * 1.1), pick(rng, SKIN))
    canvas.spot((x, y - radius * 0.5), (radius, radius * 0.6), pick(rng, BROWNS, GRAYS[:1]))


def draw_bicyclist(canvas: Canvas, rng: np.random.Generator, place: Place) -> None:
    """Draw a rider bent over two wheels, seen from the side or turned towards the camera."""
    coat, frame = pick(rng, VESTS), pick(rng, BRIGHTS)
    turned = between(rng, 0.45, 1.0) * (1.0 if rng.random() < 0.5 else -1.0)
    scale = canvas.camera.focal / place.z
    canvas.start(BICYCLIST, place.z)

    def outline(*points: Point) -> list[Point]:
        """Return points along the bicycle and up, in pixels."""
        return [canvas.camera.project(place.x + x * turned, y, place.z) for x, y in points]

    for middle in outline((-0.55, 0.36), (0.55, 0.36)):
        radii = (abs(turned) * 0.36 * scale, 0.36 * scale)
        canvas.ellipse(middle, radii, None)
        canvas.ring(middle, radii, BLACK, 0.1 * scale)
    # What shows between the bars counts as bicyclist too.
    hull = ((-0.55, 0.36), (-0.2, 0.85), (0.45, 0.85), (0.55, 0.36), (0.0, 0.3))
    canvas.polygon(outline(*hull), None)
    bars = outline((-0.55, 0.36), (0.0, 0.32), (-0.2, 0.85), (0.42, 0.8), (0.0, 0.32))
    canvas.stroke(bars, frame, 0.08 * scale)
    canvas.stroke(outline((0.55, 0.36), (0.4, 1.05)), frame, 0.08 * scale)
    leg = ((-0.32, 0.95), (0.2, 0.75), (0.0, 0.2), (0.16, 0.2), (0.38, 0.85), (-0.05, 1.08))
    canvas.polygon(outline(*leg), pick(rng, GRAYS[:2], BRIGHTS[4:]))
    body = ((-0.38, 0.92), (-0.3, 1.3), (0.12, 1.55), (0.34, 1.42), (0.02, 1.0))
    canvas.polygon(outline(*body), coat)
    canvas.polygon(outline((0.2, 1.48), (0.34, 1.4), (0.5, 1.02), (0.38, 1.0)), shade(coat, 0.7))
    head = Place(place.x + 0.33 * turned, place.z, place.end, place.side)
    _draw_head(canvas, rng, head, 1.84)
