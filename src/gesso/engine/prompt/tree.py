"""The syntax tree of a prompt. It keeps every sign: `str` of it is what was parsed."""

from dataclasses import dataclass, field
from typing import TypeAlias

from gesso.core.requests import PromptDialect

ROUND_FACTOR = 1.1
"""Of `(a)`; `[a]` divides by it."""


@dataclass(frozen=True, slots=True)
class Text:
    """Words. `text` is what is meant by what was `written`: without the backslashes of escapes."""

    written: str
    text: str

    def __str__(self) -> str:
        return self.written


@dataclass(frozen=True, slots=True)
class Break:
    """The word that ends a chunk of tokens."""

    def __str__(self) -> str:
        return "BREAK"


@dataclass(frozen=True, slots=True)
class Comment:
    """`#` to the end of the line."""

    written: str

    def __str__(self) -> str:
        return self.written


@dataclass(frozen=True, slots=True)
class Tag:
    """`<kind:arguments>`: a network to be applied."""

    kind: str
    arguments: str

    def __str__(self) -> str:
        return f"<{self.kind}:{self.arguments}>"


@dataclass(frozen=True, slots=True)
class Emphasis:
    """A bracket that weighs what is in it."""

    opening: str
    inside: "Sequence"
    weight: str = ""
    """As written, from the colon on; empty if there is none."""
    closing: str = ""
    """Empty if it was left open: then it reaches to the end of what it stands in."""

    @property
    def explicit(self) -> float | None:
        """The weight that was written."""
        return number_of(self.weight) if self.weight else None

    @property
    def factor(self) -> float:
        """What the bracket multiplies by."""
        if self.explicit is not None:
            return self.explicit
        return ROUND_FACTOR if self.opening == "(" else 1 / ROUND_FACTOR

    def __str__(self) -> str:
        return f"{self.opening}{written(self.inside)}{self.weight}{self.closing}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """`[before:after:when]`, or `[after:when]` with `before` `None`."""

    before: "Sequence | None"
    after: "Sequence"
    when: str
    """As written, from the colon on."""

    def last_step(self, steps: int, made: int = 0) -> int:
        """The last step, from 1, with `before`; 0 if there is none.

        A number with a decimal point is a share of the steps, one without is a step. In a second pass, before which
        `made` steps were made, steps are counted on, and shares of it are 1 to 2, as AUTOMATIC1111 does.
        """
        value = number_of(self.when)
        last = (value - (made > 0)) * steps if "." in self.when else value - made
        return int(max(0, min(steps, last)))

    def __str__(self) -> str:
        before = "" if self.before is None else f"{written(self.before)}:"
        return f"[{before}{written(self.after)}{self.when}]"


@dataclass(frozen=True, slots=True)
class Alternation:
    """`[a|b|c]`: each step takes the next."""

    choices: "tuple[Sequence, ...]"

    def __str__(self) -> str:
        return f"[{'|'.join(map(written, self.choices))}]"


Node: TypeAlias = Text | Break | Comment | Tag | Emphasis | Schedule | Alternation
Sequence: TypeAlias = tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """What stands between two `AND`s."""

    inside: Sequence
    weight: str = ""
    """As written, from the colon on; empty if there is none."""

    @property
    def factor(self) -> float:
        return number_of(self.weight) if self.weight else 1.0

    def __str__(self) -> str:
        return f"{written(self.inside)}{self.weight}"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A whole prompt."""

    parts: tuple[Part, ...]
    dialect: PromptDialect = field(default=PromptDialect.GESSO)

    def __str__(self) -> str:
        return "AND".join(map(str, self.parts))


def written(sequence: Sequence) -> str:
    """What was parsed as `sequence`."""
    return "".join(map(str, sequence))


def number_of(text: str) -> float:
    """The number after a colon."""
    return float(text.removeprefix(":"))
