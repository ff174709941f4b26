"""What stands in a street, and where."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from train.data.datasets.scenes.canvas import Canvas, Place, between
from train.data.datasets.scenes.roadside import draw_building, draw_fence, draw_pole, draw_tree
from train.data.datasets.scenes.setting import FAR, Shadow, Street
from train.data.datasets.scenes.traffic import draw_bicyclist, draw_car, draw_pedestrian

Painter = Callable[[Canvas, np.random.Generator, Place], None]


@dataclass(frozen=True)
class Thing:
    """Something that stands in the street; `row` counts from the houses (0) to the road (3)."""

    row: int
    place: Place
    paint: Painter
    # Width and length in metres.
    shadow_size: tuple[float, float] | None = None

    @property
    def shadow(self) -> Shadow | None:
        """The shadow it casts, if any."""
        return (self.place, *self.shadow_size) if self.shadow_size else None


def plan(rng: np.random.Generator, street: Street) -> Iterator[Thing]:
    """Draw everything that stands in the street.

    Rows settle what hides what: seen from the road, a thing nearer to it is in front of whatever
    stands in a row further out; within a row the nearer one is in front.
    """
    for side in (-1.0, 1.0):
        yield from _plan_houses(rng, street, side)
        yield from _plan_pavement(rng, street, side)
        yield from _plan_traffic(rng, street, side)


def _plan_houses(rng: np.random.Generator, street: Street, side: float) -> Iterator[Thing]:
    """Yield houses, and gardens with trees between them, behind fences."""
    front, z = street.front(side), 4.0 + between(rng, 0.0, 3.0)
    fenced = rng.random() < 0.7
    while z < FAR:
        end = z + between(rng, 7.0, 13.0)
        if rng.random() < 0.62:
            setback = 2.0 if fenced else 0.0
            yield Thing(0, Place(front + side * setback, z, end, side), draw_building)
        else:
            for _ in range(2):
                x, foot = front + side * between(rng, 2.0, 6.0), between(rng, z, end)
                yield Thing(1, Place(x, foot, foot, side), draw_tree)
        z = end + between(rng, 0.0, 1.5)
    if fenced or rng.random() < 0.4:
        begin = between(rng, 3.0, 7.0)
        place = Place(front, begin, begin + between(rng, 12.0, 25.0), side)
        yield Thing(2, place, draw_fence)


def _plan_pavement(rng: np.random.Generator, street: Street, side: float) -> Iterator[Thing]:
    """Yield poles and trees along the kerb, and people."""
    kerb, pavement = street.kerb(side), street.pavement
    for slot in range(2):
        if rng.random() < 0.75:
            z = between(rng, 6.5, 10.0) + 5.0 * slot
            yield Thing(3, Place(kerb + 0.5 * side, z, z, side), draw_pole, (0.3, 5.0))
    if rng.random() < 0.3:
        z = between(rng, 11.0, 25.0)
        yield Thing(3, Place(kerb + 0.9 * side, z, z, side), draw_tree, (2.5, 3.0))
    for _ in range(int(between(rng, 0.7, 3.1))):
        z = between(rng, 7.5, 11.0)
        # Most walk on the pavement, some cross the road.
        x = kerb + side * between(rng, -0.25, 0.75) * pavement
        yield Thing(3, Place(x, z, z, side), draw_pedestrian, (0.6, 1.8))


def _plan_traffic(rng: np.random.Generator, street: Street, side: float) -> Iterator[Thing]:
    """Yield cars at the kerb and driving, and at times a bicyclist between them."""
    kerb = street.kerb(side)
    z = between(rng, 6.0, 16.0)
    if rng.random() < 0.38:
        ahead, x = between(rng, 6.5, 10.0), kerb - side * between(rng, 0.8, 2.6)
        yield Thing(3, Place(x, ahead, ahead, side), draw_bicyclist, (1.0, 1.5))
        z = ahead + 3.0
    while z < 32.0:
        if rng.random() < 0.45:
            x = kerb - side * (1.2 if rng.random() < 0.6 else 2.6)
            yield Thing(3, Place(x, z, z + 4.2, side), draw_car, (2.0, 0.8))
        z += between(rng, 5.5, 9.0)
