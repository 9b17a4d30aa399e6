"""Reading a prompt back into facts: the grammar of the captions, understood a little more widely than it is written.

Besides what `gesso.primer.caption` writes, the article, the colour and the background may be left out, a thing of two
may have a size, and case and full stops do not matter. A fact that is not named is `None` and asks for nothing; only
the fill is always a fact, because the captions never leave stripes out.
"""

import re
from dataclasses import dataclass

from gesso.core.errors import InputError, UnknownNameError
from gesso.primer.scene import COLOURS, Fill, Relation, Scene, Size
from gesso.primer.shapes import SHAPES

GRAMMAR = """\
prompt     = thing [ relation thing ] [ background ]
thing      = [ "a" | "an" | "one" | "the" ] [ size ] [ fill ] [ colour ] shape
size       = "small" | "large" | "big"
fill       = "striped" | "solid"
relation   = "left of" | "above"
background = "on" [ article ] colour [ "background" ] | "," [ article ] colour "background"
"""
"""What `parse` understands, for messages and documents. Colours and shapes are those of the world."""

_ARTICLES = {"a", "an", "one", "the"}
_SIZES = {"small": Size.SMALL, "large": Size.LARGE, "big": Size.LARGE}
_FILLS = {str(fill): fill for fill in Fill}
_OTHER_WORDS = {"on", ",", "background", "left", "of", "above"}
WORDS = frozenset(_ARTICLES | set(_SIZES) | set(_FILLS) | _OTHER_WORDS | set(COLOURS) | set(SHAPES))
"""Every word (and the comma) that a prompt may have."""


@dataclass(frozen=True, kw_only=True)
class AskedThing:
    """What a prompt says of one thing; `None` where it says nothing."""

    shape: str
    colour: str | None = None
    size: Size | None = None
    fill: Fill = Fill.SOLID


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The facts that a prompt asks for."""

    things: tuple[AskedThing, ...]
    relation: Relation | None = None
    """Where the first thing stands, seen from the second."""
    background: str | None = None


def asked_of(scene: Scene) -> Asked:
    """All facts of a scene, as if a prompt had named every one."""
    things = (
        AskedThing(shape=thing.shape, colour=thing.colour, size=thing.size, fill=thing.fill) for thing in scene.things
    )
    return Asked(things=tuple(things), relation=scene.relation, background=scene.background)


def parse(prompt: str) -> Asked:
    """The facts of `prompt`.

    Raises:
        InputError: it has words that the world does not know, all of which are named, or known ones in an order that
            says nothing.
    """
    words = re.findall(r"[^\s,.]+|,", prompt.casefold())
    unknown = list(dict.fromkeys(word for word in words if word not in WORDS))
    if unknown:
        nearest = UnknownNameError("word", unknown[0], sorted(WORDS))
        listed = ", ".join(f"`{word}`" for word in unknown)
        raise InputError(f"The primer's world does not know: {listed}", hint=nearest.hint)
    return _Parser(words).prompt()


class _Parser:
    """One pass over the words, from left to right. Each method reads one rule of the grammar."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.position = 0

    def prompt(self) -> Asked:
        things = [self.thing()]
        relation = self.relation()
        if relation is not None:
            things.append(self.thing())
        background = self.background()
        if self.position < len(self.words):
            raise self.error("the end")
        return Asked(things=tuple(things), relation=relation, background=background)

    def thing(self) -> AskedThing:
        self.take(*_ARTICLES)
        size, fill, colour = self.take(*_SIZES), self.take(*_FILLS), self.take(*COLOURS)
        shape = self.take(*SHAPES)
        if shape is None:
            raise self.error("a shape")
        return AskedThing(
            shape=shape,
            colour=colour,
            size=_SIZES[size] if size else None,
            fill=_FILLS[fill] if fill else Fill.SOLID,
        )

    def relation(self) -> Relation | None:
        if self.take("above"):
            return Relation.ABOVE
        if self.take("left"):
            if not self.take("of"):
                raise self.error("`of`")
            return Relation.LEFT_OF
        return None

    def background(self) -> str | None:
        joint = self.take("on", ",")
        if joint is None:
            return None
        self.take(*_ARTICLES)
        colour = self.take(*COLOURS)
        if colour is None:
            raise self.error("the colour of the background")
        if not self.take("background") and joint == ",":
            raise self.error("`background`")
        return colour

    def take(self, *wanted: str) -> str | None:
        """The next word, if it is one of `wanted`."""
        word = self.words[self.position] if self.position < len(self.words) else None
        if word not in wanted:
            return None
        self.position += 1
        return word

    def error(self, expected: str) -> InputError:
        found = f"`{self.words[self.position]}`" if self.position < len(self.words) else "the end"
        return InputError(
            f"The prompt cannot be read: expected {expected}, found {found}",
            hint='prompts of the primer are like "a red circle left of a blue star on a white background"',
        )
