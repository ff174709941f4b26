"""What every street has: sky, skyline, ground, markings and shadows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from train.data.datasets.camvid_classes import BUILDING, PAVEMENT, ROAD, SKY, TREE
from train.data.datasets.scenes.canvas import (
    GRAYS,
    GREENS,
    STONES,
    Canvas,
    Color,
    Place,
    between,
    enlarge,
    mix,
    pick,
    shade,
)

# Where the street begins and ends, in metres from the camera.
NEAR, FAR = 1.5, 75.0
SKIES = ((120, 150, 200), (150, 156, 166), (206, 208, 212), (110, 118, 134))

# What casts a shadow: its place, its width and the shadow's length in metres.
Shadow = tuple[Place, float, float]


@dataclass(frozen=True)
class Street:
    """Where the road's edges and the house fronts are, in metres to the right of the camera."""

    left: float
    right: float
    pavement: float

    def kerb(self, side: float) -> float:
        """Return the road's edge on one side."""
        return self.left if side < 0.0 else self.right

    def front(self, side: float) -> float:
        """Return the pavement's far edge on one side."""
        return self.kerb(side) + side * self.pavement


def paint_sky(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint a gradient towards the haze, and clouds."""
    top = pick(rng, SKIES)
    width, height = canvas.size
    canvas.start(SKY)
    for band in range(24):
        share = band / 24
        color = mix(top, canvas.light.haze, share)
        y = canvas.camera.horizon * share
        canvas.polygon([(0, y), (width, y), (width, height), (0, height)], color)
    for _ in range(int(between(rng, 0.0, 7.0))):
        x, y = between(rng, 0.0, width), between(rng, 0.0, 0.8) * canvas.camera.horizon
        tone = shade(canvas.light.haze, between(rng, 0.9, 1.2))
        for _ in range(4):
            middle = (x + between(rng, -0.1, 0.1) * width, y + between(rng, -0.02, 0.02) * height)
            canvas.spot(middle, (between(rng, 0.04, 0.13) * width, 0.03 * height), tone)


def paint_backdrop(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint what closes the street far away: houses and trees along the horizon."""
    project, x = canvas.camera.project, -FAR
    while x < FAR:
        end, height = x + between(rng, 5.0, 14.0), between(rng, 4.0, 13.0)
        if rng.random() < 0.5:
            canvas.start(BUILDING, FAR)
            corners = ((x, 0.0), (x, height), (end, height), (end, 0.0))
            color = pick(rng, GRAYS, STONES)
        else:
            canvas.start(TREE, FAR)
            middle = (x + end) / 2.0
            corners = ((x, 0.0), (x, height / 2), (middle, height), (end, height / 2), (end, 0.0))
            color = pick(rng, GREENS)
        canvas.polygon([project(across, up, FAR) for across, up in corners], color)
        x = end


def paint_ground(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """Paint pavements, and the road with its patches and markings."""
    slabs, asphalt = pick(rng, GRAYS, STONES), pick(rng, GRAYS)
    canvas.start(PAVEMENT)
    canvas.polygon(canvas.camera.ground((-FAR, FAR), (NEAR, FAR)), slabs)
    _paint_slabs(canvas, rng, street, slabs)
    canvas.start(ROAD)
    canvas.polygon(canvas.camera.ground((street.left, street.right), (NEAR, FAR)), asphalt)
    for _ in range(6):
        x, z = between(rng, street.left, street.right - 1.5), between(rng, 4.0, 25.0)
        patch = canvas.camera.ground((x, x + 1.5), (z, z + between(rng, 1.0, 4.0)))
        canvas.detail(patch, shade(asphalt, between(rng, 0.88, 1.1)))
    _paint_markings(canvas, rng, street, shade(asphalt, between(rng, 1.3, 1.9)))


def _paint_slabs(canvas: Canvas, rng: np.random.Generator, street: Street, slabs: Color) -> None:
    """Paint joints between the slabs, and a kerb."""
    joint, size = shade(slabs, 0.72), between(rng, 0.7, 1.1)
    for side in (-1.0, 1.0):
        kerb, front = street.kerb(side), street.front(side)
        for row in range(1, int(street.pavement / size) + 1):
            x = kerb + side * size * row
            ends = [canvas.camera.project(x, 0.0, z) for z in (NEAR, FAR)]
            canvas.stroke(ends, joint, 0.5)
        z = NEAR
        while z < 22.0:
            ends = [canvas.camera.project(x, 0.0, z) for x in (kerb, front)]
            canvas.stroke(ends, joint, 0.5)
            z += size
        edge = canvas.camera.ground((kerb, kerb + side * 0.25), (NEAR, FAR))
        canvas.detail(edge, shade(slabs, 1.25))


def _paint_markings(canvas: Canvas, rng: np.random.Generator, street: Street, color: Color) -> None:
    """Paint a dashed line in the middle, lines along the kerbs, at times a zebra crossing."""
    middle, z = (street.left + street.right) / 2.0, NEAR + between(rng, 0.0, 3.0)
    while z < FAR:
        canvas.detail(canvas.camera.ground((middle - 0.1, middle + 0.1), (z, z + 2.5)), color)
        z += 5.0
    if rng.random() < 0.6:
        for side in (-1.0, 1.0):
            x = street.kerb(side) - side * 0.45
            canvas.detail(canvas.camera.ground((x - 0.08, x + 0.08), (NEAR, FAR)), color)
    if rng.random() < 0.3:
        z, x = between(rng, 6.0, 15.0), street.left + 0.5
        while x < street.right - 0.5:
            canvas.detail(canvas.camera.ground((x, x + 0.5), (z, z + 3.0)), color)
            x += 1.0


def paint_shadows(
    canvas: Canvas, rng: np.random.Generator, street: Street, shadows: Sequence[Shadow]
) -> None:
    """Darken the ground where houses and things keep the sun off."""
    mask = Image.new("L", canvas.large, 255)
    draw, level = ImageDraw.Draw(mask), round(255 * canvas.light.shadow)
    sun, project = canvas.light.sun, canvas.camera.project
    if rng.random() < 0.5:
        side = 1.0 if sun > 0.0 else -1.0
        front, reach = street.front(side), between(rng, 1.0, 8.0)
        houses = canvas.camera.ground((front + 30.0 * side, front - reach * side), (NEAR, FAR))
        draw.polygon(enlarge(houses), fill=level)
    for place, width, length in shadows:
        left, right, far = place.x - width / 2, place.x + width / 2, max(place.end, place.z + 0.3)
        base = [(left, place.z), (right, place.z), (right, far), (left, far)]
        # The sun stands a little behind the camera.
        tip = [(x - sun * length, z + 0.2 * length) for x, z in base]
        for face in (base, tip, [*base[:2], *reversed(tip[:2])]):
            draw.polygon(enlarge([project(x, 0.0, z) for x, z in face]), fill=level)
    canvas.darken(mask)
