"""Comparing what a picture shows with what was asked for, fact by fact."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from gesso.primer.prompt import Asked, AskedThing
from gesso.primer.reading import Reading, SeenThing
from gesso.primer.scene import Relation


class Kind(StrEnum):
    """Kinds of facts."""

    BACKGROUND = "background"
    NUMBER = "number"
    COLOUR = "colour"
    SHAPE = "shape"
    SIZE = "size"
    FILL = "fill"
    RELATION = "relation"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact that was asked for, and what is to be seen of it."""

    kind: Kind
    thing: int | None
    """Which thing of the prompt it is about, from 0; `None` for the whole picture."""
    asked: str
    seen: str | None
    """`None`: it cannot be read, or the thing is not there."""

    @property
    def right(self) -> bool:
        return self.asked == self.seen


@dataclass(frozen=True, kw_only=True)
class Score:
    """How far a picture does what was asked."""

    facts: tuple[Fact, ...]

    @property
    def right(self) -> int:
        """Number of facts that are right."""
        return sum(fact.right for fact in self.facts)

    @property
    def all_right(self) -> bool:
        return self.right == len(self.facts)

    @classmethod
    def of_nothing(cls, asked: Asked) -> "Score":
        """The score of a picture on which nothing can be read."""
        nothing = compare(asked, Reading(background=None, things=(), relation=None))
        return cls(facts=tuple(replace(fact, seen=None) for fact in nothing.facts))

    def of(self, kind: Kind) -> list[Fact]:
        """The facts of one kind."""
        return [fact for fact in self.facts if fact.kind is kind]


def compare(asked: Asked, reading: Reading) -> Score:
    """Score what was read from a picture. Facts that were not asked for do not count.

    Which seen thing is meant by which asked one is taken as the relation says, unless the other way round more of their
    own facts are right: then only the relation is wrong.
    """
    straight = list(reading.things)
    orders = [straight, straight[::-1]] if len(asked.things) == 2 else [[thing] for thing in straight] or [[]]
    best = max(orders, key=lambda order: _matching(asked, order))
    facts = [Fact(kind=Kind.NUMBER, thing=None, asked=str(len(asked.things)), seen=str(len(reading.things)))]
    if asked.background is not None:
        facts.append(Fact(kind=Kind.BACKGROUND, thing=None, asked=asked.background, seen=reading.background))
    if asked.relation is not None:
        facts.append(
            Fact(
                kind=Kind.RELATION,
                thing=None,
                asked=str(asked.relation),
                seen=_relation_seen(reading, swapped=best is not straight),
            )
        )
    for number, thing in enumerate(asked.things):
        facts += _facts_of(number, thing, best[number] if number < len(best) else None)
    return Score(facts=tuple(facts))


_CONVERSE = {Relation.LEFT_OF: "right of", Relation.ABOVE: "below"}


def _relation_seen(reading: Reading, *, swapped: bool) -> str | None:
    if reading.relation is None:
        return None
    return _CONVERSE[reading.relation] if swapped else str(reading.relation)


def _matching(asked: Asked, order: list[SeenThing]) -> int:
    pairs = zip(asked.things, order, strict=False)
    return sum(fact.right for number, (one, other) in enumerate(pairs) for fact in _facts_of(number, one, other))


def _facts_of(number: int, asked: AskedThing, seen: SeenThing | None) -> Iterator[Fact]:
    wanted = {Kind.COLOUR: asked.colour, Kind.SHAPE: asked.shape, Kind.SIZE: asked.size, Kind.FILL: asked.fill}
    for kind, value in wanted.items():
        if value is not None:
            found = None if seen is None else getattr(seen, str(kind))
            yield Fact(kind=kind, thing=number, asked=str(value), seen=None if found is None else str(found))
