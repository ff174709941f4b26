"""How the things along a street are painted: one function a thing, all with the same signature.

A thing stands at its place and draws its looks from the generator. Lengths are in metres.
"""

import numpy as np

from train.data.datasets.camvid_classes import BUILDING, FENCE, POLE, SIGN, TREE
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

# Farther than this, windows and boards would be smaller than a pixel.
DETAIL_DEPTH = 45.0
# No pole is thinner than this many pixels, so that a decoder at stride 4 can find it.
MIN_WIDTH = 4.0
# No sign is smaller than this many pixels from its middle to its edge.
MIN_RADIUS = 6.0
BLACK = (28, 28, 30)


def draw_building(canvas: Canvas, rng: np.random.Generator, place: Place) -> None:
    """Draw a house with rows of windows, often a shop below and a pitched roof above."""
    height, wall = between(rng, 5.0, 12.0), pick(rng, GRAYS, STONES, GRAYS, STONES, GREENS[2:3])
    front, end = (shade(wall, canvas.light.facing(side)) for side in (place.side, 0.8))
    x, back = place.x, place.x + place.side * 14.0
    canvas.start(BUILDING, place.z)
    canvas.polygon(canvas.camera.front((x, back), (0.0, height), place.z), end)
    canvas.polygon(canvas.camera.side(x, (0.0, height), (place.z, place.end)), front)
    if rng.random() < 0.5:
        _draw_roof(canvas, rng, place, height)
    if place.z > DETAIL_DEPTH:
        return
    ground = 3.0 if rng.random() < 0.5 else 0.0
    if ground:
        shop = canvas.camera.side(x, (0.3, 2.6), (place.z + 0.3, place.end - 0.3))
        canvas.detail(shop, shade(pick(rng, BRIGHTS, GRAYS), 0.6))
    _draw_windows(canvas, rng, place, (ground, height), front)


def _draw_roof(canvas: Canvas, rng: np.random.Generator, place: Place, height: float) -> None:
    ridge, top = place.x + place.side * 4.0, height + between(rng, 1.5, 3.0)
    color = pick(rng, BROWNS, GRAYS[:2])
    corners = [(place.x, height), (ridge, top)]
    near = [canvas.camera.project(x, y, place.z) for x, y in corners]
    far = [canvas.camera.project(x, y, place.end) for x, y in reversed(corners)]
    canvas.polygon(near + far, color)
    outer = canvas.camera.project(2.0 * ridge - place.x, height, place.z)
    canvas.polygon([*near, outer], shade(color, 0.8))


def _draw_windows(
    canvas: Canvas, rng: np.random.Generator, place: Place, walls: Span, wall: Color
) -> None:
    low, high = walls
    rows = max(1, int((high - low) / 2.9))
    columns = max(1, int((place.end - place.z) / between(rng, 2.2, 3.2)))
    storey, step = (high - low) / rows, (place.end - place.z) / columns
    glass = shade(wall, 0.45 if rng.random() < 0.75 else 1.45)
    for row in range(rows):
        heights = (low + storey * (row + 0.3), low + storey * (row + 0.8))
        for column in range(columns):
            z = place.z + step * column
            window = canvas.camera.side(place.x, heights, (z + 0.25 * step, z + 0.75 * step))
            canvas.detail(window, glass)


def draw_tree(canvas: Canvas, rng: np.random.Generator, place: Place) -> None:
    """Draw a trunk below a crown of overlapping, speckled clumps of leaves."""
    trunk, size = between(rng, 1.6, 3.0), between(rng, 1.7, 3.2)
    leaves = pick(rng, GREENS, GREENS, BROWNS, GRAYS[:2])
    scale = canvas.camera.focal / place.z
    canvas.start(TREE, place.z)
    canvas.polygon(
        canvas.camera.front((place.x - 0.22, place.x + 0.22), (0.0, trunk + size), place.z),
        shade(pick(rng, BROWNS), 0.7),
    )
    for index in range(9):
        x = place.x + between(rng, -0.65, 0.65) * size
        y = trunk + between(rng, 0.4, 1.75) * size
        radius = between(rng, 0.45, 0.65) * size * scale
        tone = shade(leaves, 0.75 + 0.05 * index)
        middle = canvas.camera.project(x, y, place.z)
        canvas.ellipse(middle, (radius, radius * 0.85), tone)
        for _ in range(5):
            leaf = (
                middle[0] + between(rng, -0.55, 0.55) * radius,
                middle[1] + between(rng, -0.45, 0.45) * radius,
            )
            reach = between(rng, 0.1, 0.25) * radius
            canvas.spot(leaf, (reach, reach), shade(tone, between(rng, 0.5, 1.45)))


def draw_fence(canvas: Canvas, rng: np.random.Generator, place: Place) -> None:
    """Draw boards, or a railing that what lies behind shines through, along the pavement."""
    height, spacing = between(rng, 1.4, 1.9), between(rng, 0.7, 1.0)
    solid, color = rng.random() < 0.7, pick(rng, BROWNS, GREENS, GRAYS)
    color = shade(color, canvas.light.facing(place.side))
    canvas.start(FENCE, place.z)
    strip = canvas.camera.side(place.x, (0.0, height), (place.z, place.end))
    canvas.polygon(strip, color if solid else None)
    line = shade(color, 0.45) if solid else color
    z = place.z
    while z < min(place.end, DETAIL_DEPTH):
        ends = [canvas.camera.project(place.x, y, z) for y in (0.0, height)]
        canvas.stroke(ends, line, 0.12 * canvas.camera.focal / z)
        z += spacing * (0.5 if solid else 0.35)
    for y in (0.25 * height, 0.97 * height):
        rail = [canvas.camera.project(place.x, y, z) for z in (place.z, place.end)]
        canvas.stroke(rail, line, 1.0)


def draw_pole(canvas: Canvas, rng: np.random.Generator, place: Place) -> None:
    """Draw a lamp post with its arm over the road, or the short post of a sign and the sign."""
    width = max(0.24, MIN_WIDTH * place.z / canvas.camera.focal)
    color = pick(rng, GRAYS, BROWNS[:2], GREENS[2:3])
    signed = rng.random() < 0.6
    height = between(rng, 2.6, 3.4) if signed else between(rng, 5.0, 7.5)
    left, right = place.x - width / 2.0, place.x + width / 2.0
    canvas.start(POLE, place.z)
    canvas.polygon(canvas.camera.front((left, right), (0.0, height), place.z), color)
    lit = canvas.camera.front((left, left + width / 3.0), (0.0, height), place.z)
    canvas.detail(lit, shade(color, 1.5))
    dim = canvas.camera.front((right - width / 3.0, right), (0.0, height), place.z)
    canvas.detail(dim, shade(color, 0.55))
    if signed:
        _draw_sign(canvas, rng, place, height)
    else:
        arm, thick = place.x - place.side * between(rng, 1.0, 1.6), width * 0.8
        bar = canvas.camera.front((place.x, arm), (height - thick, height), place.z)
        canvas.polygon(bar, color)


def _draw_sign(canvas: Canvas, rng: np.random.Generator, place: Place, top: float) -> None:
    """Draw a disc, a triangle, a board or a traffic light."""
    size = max(between(rng, 0.5, 0.65), MIN_RADIUS * place.z / canvas.camera.focal)
    radius = size * canvas.camera.focal / place.z
    x, y = canvas.camera.project(place.x, top, place.z)
    rim, face = pick(rng, BRIGHTS[:2]), pick(rng, BRIGHTS[2:4], BRIGHTS[2:3])
    canvas.start(SIGN, place.z)
    kind = rng.random()
    if kind < 0.3:
        canvas.ellipse((x, y), (radius, radius), rim)
        canvas.spot((x, y), (radius * 0.62, radius * 0.62), face)
    elif kind < 0.55:
        for scale, color in ((1.15, rim), (0.6, face)):
            reach = radius * scale
            corners = [(x - reach, y + reach * 0.7), (x, y - reach), (x + reach, y + reach * 0.7)]
            (canvas.polygon if scale > 1.0 else canvas.detail)(corners, color)
    elif kind < 0.8:
        canvas.polygon(_square(x, y, radius, radius), face)
        canvas.detail(_square(x, y, radius * 0.85, radius * 0.85), rim)
        canvas.detail(_square(x, y, radius * 0.6, radius * 0.2), face)
    else:
        canvas.polygon(_square(x, y, radius * 0.75, radius * 1.5), BLACK)
        for step, color in enumerate(((220, 60, 50), (210, 160, 50), (70, 190, 110))):
            canvas.spot((x, y + (step - 1) * radius * 0.9), (radius * 0.36, radius * 0.36), color)


def _square(x: float, y: float, across: float, up: float) -> list[Point]:
    return [(x - across, y - up), (x + across, y - up), (x + across, y + up), (x - across, y + up)]
