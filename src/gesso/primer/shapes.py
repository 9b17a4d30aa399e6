"""Shapes of the primer's world: each is one function that draws its outline into a mask.

A shape is drawn as ink on an empty mask, never in colour, so that one function serves pictures, masks and edges alike.
To add a shape is to add a function to a table: to `SHAPES`, whose words are those of the captions, for what the weights
are trained on, and else to `NEW_SHAPES`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL.ImageDraw import ImageDraw

Point = tuple[float, float]

INK = 255
_BARE = 0
_UP = -math.pi / 2
"""The angle that points upwards: y grows downwards in pictures."""


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Where a shape is drawn, in pixels of the mask."""

    x: float
    y: float
    radius: float
    """The size of the shape: half the width of a circle. Others keep about its area."""

    def box(self, half_width: float, half_height: float | None = None) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of a rectangle around the spot."""
        half_height = half_width if half_height is None else half_height
        return (self.x - half_width, self.y - half_height, self.x + half_width, self.y + half_height)

    def moved(self, right: float = 0.0, down: float = 0.0) -> "Spot":
        """The spot, moved by fractions of its radius."""
        return Spot(x=self.x + right * self.radius, y=self.y + down * self.radius, radius=self.radius)


Outline = Callable[[ImageDraw, Spot], None]


def circle(mask: ImageDraw, spot: Spot) -> None:
    mask.ellipse(spot.box(spot.radius), fill=INK)


def square(mask: ImageDraw, spot: Spot) -> None:
    mask.rectangle(spot.box(spot.radius * 0.86), fill=INK)


def triangle(mask: ImageDraw, spot: Spot) -> None:
    mask.polygon(_corners(spot.moved(down=0.15), [1.1] * 3, first_angle=_UP), fill=INK)


def star(mask: ImageDraw, spot: Spot) -> None:
    mask.polygon(_corners(spot, [1.1, 0.45] * 5, first_angle=_UP), fill=INK)


def heart(mask: ImageDraw, spot: Spot) -> None:
    """The curve x = 16 sin³t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, at 40 points."""
    scale = spot.radius * 1.05

    def point(t: float) -> Point:
        right = 16 * math.sin(t) ** 3
        up = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        return (spot.x + scale * right / 17, spot.y - scale * up / 17)

    mask.polygon([point(i * 2 * math.pi / 40) for i in range(40)], fill=INK)


def ring(mask: ImageDraw, spot: Spot) -> None:
    mask.ellipse(spot.box(spot.radius), fill=INK)
    mask.ellipse(spot.box(spot.radius * 0.55), fill=_BARE)


def cross(mask: ImageDraw, spot: Spot) -> None:
    arm = spot.radius * 0.34
    mask.rectangle(spot.box(arm, spot.radius), fill=INK)
    mask.rectangle(spot.box(spot.radius, arm), fill=INK)


def diamond(mask: ImageDraw, spot: Spot) -> None:
    tall, wide = spot.radius * 1.1, spot.radius * 0.7
    x, y = spot.x, spot.y
    mask.polygon([(x, y - tall), (x + wide, y), (x, y + tall), (x - wide, y)], fill=INK)


def crescent(mask: ImageDraw, spot: Spot) -> None:
    mask.ellipse(spot.box(spot.radius), fill=INK)
    mask.ellipse(spot.moved(right=0.5, down=-0.1).box(spot.radius), fill=_BARE)


def hexagon(mask: ImageDraw, spot: Spot) -> None:
    mask.polygon(_corners(spot, [1.0] * 6, first_angle=0.0), fill=INK)


def arrow(mask: ImageDraw, spot: Spot) -> None:
    """Points to the right."""
    shaft, head = spot.radius * 0.3, spot.radius * 0.9
    x, y, r = spot.x, spot.y, spot.radius
    mask.polygon(
        [
            (x - r, y - shaft),
            (x, y - shaft),
            (x, y - head),
            (x + r, y),
            (x, y + head),
            (x, y + shaft),
            (x - r, y + shaft),
        ],
        fill=INK,
    )


def house(mask: ImageDraw, spot: Spot) -> None:
    """Walls with a door, under a roof."""
    x, y, r = spot.x, spot.y, spot.radius
    mask.polygon([(x - r, y - 0.1 * r), (x, y - r), (x + r, y - 0.1 * r)], fill=INK)
    mask.rectangle((x - 0.7 * r, y - 0.1 * r, x + 0.7 * r, y + 0.9 * r), fill=INK)
    mask.rectangle((x - 0.2 * r, y + 0.3 * r, x + 0.2 * r, y + 0.9 * r), fill=_BARE)


def bolt(mask: ImageDraw, spot: Spot) -> None:
    """A flash of lightning."""
    zigzag = [(0.25, -1.1), (-0.65, 0.15), (-0.05, 0.15), (-0.3, 1.1), (0.65, -0.25), (0.05, -0.25)]
    mask.polygon([(spot.x + right * spot.radius, spot.y + down * spot.radius) for right, down in zigzag], fill=INK)


def _corners(spot: Spot, distances: list[float], *, first_angle: float) -> list[Point]:
    """Corners at even angles around the spot, each at a distance given in radii."""
    turn = 2 * math.pi / len(distances)
    return [
        (
            spot.x + distance * spot.radius * math.cos(first_angle + i * turn),
            spot.y + distance * spot.radius * math.sin(first_angle + i * turn),
        )
        for i, distance in enumerate(distances)
    ]


SHAPES: Mapping[str, Outline] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "heart": heart,
    "ring": ring,
    "cross": cross,
    "diamond": diamond,
    "crescent": crescent,
    "hexagon": hexagon,
}
"""Outlines by the word that captions use."""

NEW_SHAPES: Mapping[str, Outline] = {"arrow": arrow, "house": house, "bolt": bolt}
"""Outlines that no caption names and the weights have never seen: new subjects, to be taught."""

OUTLINES: Mapping[str, Outline] = {**SHAPES, **NEW_SHAPES}
