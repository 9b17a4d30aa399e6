"""From a syntax tree to the text of each step: pieces of one weight, in sections between `BREAK`s."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import lcm
from typing import NamedTuple, TypeAlias

from gesso.core.errors import InputError
from gesso.core.requests import PromptDialect
from gesso.engine.prompt.tree import Alternation, Break, Comment, Emphasis, Node, Schedule, Sequence, Text

MAX_TEXTS = 300
"""Different texts during one picture."""


class Piece(NamedTuple):
    """Words of one weight."""

    text: str
    weight: float


Sections: TypeAlias = tuple[tuple[Piece, ...], ...]
"""A text, divided where a chunk of tokens shall end; one section at least, which may be empty."""


class Entry(NamedTuple):
    """The text up to a step."""

    last_step: int
    """From 1, included."""
    sections: Sections


@dataclass(slots=True)
class _Run:
    """A piece that grows; `None` for the text of a `BREAK`."""

    text: str | None
    weight: float = 1.0


def entries(sequence: Sequence, steps: int, dialect: PromptDialect, *, made: int = 0) -> tuple[Entry, ...]:
    """The text of each of `steps` steps, from the first on; as few entries as there are changes.

    Args:
        made: steps of a pass before this one; see `Schedule.last_step`.

    Raises:
        InputError: the text changes more often than is read.
    """
    lengths = {len(node.choices) for node in _nodes(sequence) if isinstance(node, Alternation)}
    switches = {node.last_step(steps, made) for node in _nodes(sequence) if isinstance(node, Schedule)}
    ends = sorted({end for end in switches if end >= 1} | {steps})
    period = lcm(*lengths)
    found: list[Entry] = []
    known: dict[tuple[int, int], Sections] = {}
    start = 1
    for index, end in enumerate(ends):
        for step in range(start, end + 1) if lengths else (end,):
            place = (index, (step - 1) % period)
            if place not in known:
                if len(known) == MAX_TEXTS:
                    raise InputError(
                        f"The prompt has more than {MAX_TEXTS} different texts during its {steps} steps",
                        hint="let fewer alternations of different lengths meet",
                    )
                known[place] = sections_at(sequence, step, steps, dialect, made=made)
            if found and found[-1].sections == known[place]:
                found[-1] = Entry(step, known[place])
            else:
                found.append(Entry(step, known[place]))
        start = end + 1
    return tuple(found)


def sections_at(sequence: Sequence, step: int, steps: int, dialect: PromptDialect, *, made: int = 0) -> Sections:
    """The text of step `step` of `steps`, from 1, after `made` ones of a pass before."""
    reader = _Reader(step=step, steps=steps, made=made, replacing=dialect is PromptDialect.COMFYUI)
    sections: list[list[Piece]] = [[]]
    broken = False
    for run in reader.runs(sequence):
        if run.text is None:
            _strip_end(sections[-1])
            sections.append([])
            broken = True
            continue
        text = run.text.lstrip() if broken else run.text
        broken = broken and not text
        if not text:
            continue
        last = sections[-1][-1] if sections[-1] else None
        if last is not None and last.weight == run.weight:
            sections[-1][-1] = Piece(last.text + text, run.weight)
        else:
            sections[-1].append(Piece(text, run.weight))
    if len(sections) > 1 and not sections[-1]:
        sections.pop()  # a last word that is BREAK has nothing to begin
    return tuple(map(tuple, sections))


def _strip_end(pieces: list[Piece]) -> None:
    while pieces:
        text, weight = pieces.pop()
        if text := text.rstrip():
            pieces.append(Piece(text, weight))
            return


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads a tree at one step."""

    step: int
    steps: int
    made: int
    replacing: bool
    """Weights that were written replace those around them, as in ComfyUI; else all of them multiply."""

    def runs(self, sequence: Sequence, around: float = 1.0) -> Iterator[_Run]:
        for node in sequence:
            match node:
                case Text(text=text):
                    yield _Run(text, around)
                case Break():
                    yield _Run(None)
                case Comment():
                    yield _Run("\n", around)
                case Emphasis():
                    yield from self._weighted(node, around)
                case Schedule(before=before, after=after):
                    yield from self.runs(
                        (before or ()) if self.step <= node.last_step(self.steps, self.made) else after, around
                    )
                case Alternation(choices=choices):
                    yield from self.runs(choices[(self.step - 1) % len(choices)], around)
                case _:  # a tag is no text
                    pass

    def _weighted(self, node: Emphasis, around: float) -> Iterator[_Run]:
        if self.replacing:
            yield from self.runs(node.inside, around * node.factor if node.explicit is None else node.explicit)
            return
        for run in self.runs(node.inside):  # multiplied from the inside out, as AUTOMATIC1111 does, to the last digit
            yield _Run(run.text, run.weight * node.factor)


def _nodes(sequence: Sequence) -> Iterator[Node]:
    """Every node, those inside others included."""
    waiting = list(sequence)
    while waiting:
        node = waiting.pop()
        yield node
        match node:
            case Emphasis(inside=inside):
                waiting += inside
            case Schedule(before=before, after=after):
                waiting += [*(before or ()), *after]
            case Alternation(choices=choices):
                waiting += [one for choice in choices for one in choice]
            case _:
                pass
