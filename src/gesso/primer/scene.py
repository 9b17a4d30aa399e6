"""Scenes of the primer's world: which things there are, of what kind, and how they stand to each other.

A scene holds facts only. Where exactly a thing stands and how its picture is worded is drawn by chance elsewhere.
"""

import zlib
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from gesso.core.errors import InputError, UnknownNameError
from gesso.primer.shapes import OUTLINES, SHAPES

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (220, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (250, 215, 50),
    "green": (50, 165, 80),
    "teal": (30, 160, 160),
    "blue": (50, 90, 220),
    "purple": (140, 70, 190),
    "pink": (245, 140, 185),
    "brown": (130, 85, 50),
    "white": (248, 248, 248),
    "gray": (135, 140, 148),
    "black": (28, 28, 32),
}
"""Colours by the word that captions use, as sRGB bytes. The weights have learned these and no others."""

_HELD_OUT_ONE_IN = 20
_CHANCE_OF_STRIPES = 0.25


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Fill(StrEnum):
    SOLID = "solid"
    STRIPED = "striped"


class Relation(StrEnum):
    """Where the first thing stands, seen from the second."""

    LEFT_OF = "left of"
    ABOVE = "above"


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One thing of a scene. Raises `UnknownNameError` for a shape or a colour that the world does not have."""

    shape: str
    colour: str
    size: Size = Size.SMALL
    fill: Fill = Fill.SOLID

    def __post_init__(self) -> None:
        if self.shape not in OUTLINES:
            raise UnknownNameError("shape", self.shape, list(OUTLINES))
        _check_colour(self.colour)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One thing alone, or two in a relation, on a plain background.

    Raises:
        InputError: the number of things does not fit the relation; a thing has the colour of the background, where
            nobody could see it; or two things are large, for which there is no room.
        UnknownNameError: the world does not have the background's colour.
    """

    things: tuple[Thing, ...]
    background: str
    relation: Relation | None = None

    def __post_init__(self) -> None:
        _check_colour(self.background)
        expected = 1 if self.relation is None else 2
        if len(self.things) != expected:
            relation = f"`{self.relation}`" if self.relation else "no relation"
            raise InputError(f"A scene with {relation} has {expected} thing(s); found: {len(self.things)}")
        for thing in self.things:
            if thing.colour == self.background:
                raise InputError(f"A {thing.colour} {thing.shape} cannot be seen on a {self.background} background")
            if self.relation is not None and thing.size is not Size.SMALL:
                raise InputError(f"There is no room for two things when one is large: {thing.colour} {thing.shape}")


def _check_colour(colour: str) -> None:
    if colour not in COLOURS:
        raise UnknownNameError("colour", colour, list(COLOURS))


def is_held_out(thing: Thing, background: str) -> bool:
    """Whether this combination of colour, shape and background was kept out of training (one in twenty was).

    A model that gets such a picture right has put it together from its parts.
    """
    combination = f"{thing.colour}/{thing.shape}/{background}"
    return zlib.crc32(combination.encode()) % _HELD_OUT_ONE_IN == 0


def random_scene(rng: Random, *, share_of_two: float = 0.5, held_out: bool = False) -> Scene:
    """A scene of one thing, or of two unlike ones.

    Args:
        share_of_two: how often there are two.
        held_out: a scene that training never shows, because of at least one thing in it; else one that it may show.
    """
    while True:
        background = rng.choice(list(COLOURS))
        count = 2 if rng.random() < share_of_two else 1
        things = tuple(_random_thing(rng, background, alone=count == 1) for _ in range(count))
        kinds = {(thing.colour, thing.shape) for thing in things}
        if len(kinds) == count and held_out == any(is_held_out(thing, background) for thing in things):
            break
    relation = rng.choice(list(Relation)) if count == 2 else None
    return Scene(things=things, relation=relation, background=background)


def _random_thing(rng: Random, background: str, *, alone: bool) -> Thing:
    return Thing(
        colour=rng.choice([colour for colour in COLOURS if colour != background]),
        shape=rng.choice(list(SHAPES)),
        fill=Fill.STRIPED if rng.random() < _CHANCE_OF_STRIPES else Fill.SOLID,
        size=rng.choice(list(Size)) if alone else Size.SMALL,
    )
