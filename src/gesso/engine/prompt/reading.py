"""Prompt and negative prompt as they are read from step to step."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gesso.core.errors import InputError
from gesso.core.requests import PromptDialect
from gesso.engine.prompt.parse import parse
from gesso.engine.prompt.steps import Entry, Sections, entries

MAX_WEIGHT = 100
MAX_PARTS = 32


@dataclass(frozen=True, kw_only=True)
class PartReading:
    """What stands between two `AND`s: its share of the guidance, and its texts in the order of the steps."""

    weight: float
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What is read during some steps."""

    last_step: int
    """From 1, included."""
    parts: tuple[Sections, ...]
    negative: Sections


@dataclass(frozen=True, kw_only=True)
class PromptReading:
    """A prompt and its negative prompt, for a number of steps."""

    parts: tuple[PartReading, ...]
    negative: tuple[Entry, ...]

    @property
    def composed(self) -> bool:
        """Whether what guides is more than one text at its full weight."""
        return [part.weight for part in self.parts] != [1]

    @property
    def divided(self) -> bool:
        """Whether a text is divided by `BREAK`."""
        return any(len(entry.sections) > 1 for entry in self._entries())

    def moments(self) -> Iterator[Moment]:
        """What is read from when to when; one for all steps if nothing changes."""
        rows = [part.entries for part in self.parts]
        for end in sorted({entry.last_step for entry in self._entries()}):
            yield Moment(last_step=end, parts=tuple(_at(row, end) for row in rows), negative=_at(self.negative, end))

    def _entries(self) -> Iterator[Entry]:
        yield from self.negative
        for part in self.parts:
            yield from part.entries


def read_prompts(
    prompt: str, negative_prompt: str, *, dialect: PromptDialect, steps: int, made: int = 0
) -> PromptReading:
    """How the two are read.

    Args:
        made: steps of a pass before this one; see `Schedule.last_step`.

    Raises:
        InputError: too many brackets inside each other, too many parts or texts, or a weight that is out of range.
    """
    tree = parse(prompt, dialect)
    if len(tree.parts) > MAX_PARTS:
        raise InputError(f"The prompt has {len(tree.parts)} parts joined by AND", hint=f"use {MAX_PARTS} at most")
    parts = tuple(
        PartReading(weight=part.factor, entries=entries(part.inside, steps, dialect, made=made)) for part in tree.parts
    )
    (negative,) = parse(negative_prompt, dialect, negative=True).parts
    reading = PromptReading(parts=parts, negative=entries(negative.inside, steps, dialect, made=made))
    _check_weights([part.weight for part in parts])
    _check_weights(piece.weight for entry in reading._entries() for section in entry.sections for piece in section)
    return reading


def _check_weights(weights: Iterable[float]) -> None:
    for weight in weights:
        if abs(weight) > MAX_WEIGHT:
            raise InputError(
                f"The prompt asks for a weight of {weight:g}",
                hint=f"weights are -{MAX_WEIGHT} to {MAX_WEIGHT}; 1 is none",
            )


def _at(row: tuple[Entry, ...], step: int) -> Sections:
    return next(entry.sections for entry in row if entry.last_step >= step)
