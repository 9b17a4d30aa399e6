"""Which bracket closes which, before the grammar sees them.

A prompt is prose: it may hold any sign anywhere. So a bracket, colon or bar means something only where it stands in a
whole construction, and is text otherwise:

- `)` and `]` close the last bracket of their kind that is open, and whatever was opened and left open in it ends there;
  with none open they are text. AUTOMATIC1111 lets brackets cross each other instead.
- A bracket that nothing closes reaches to the end of the prompt, or to the next `AND`. In ComfyUI it is text.
- What stands in square brackets decides what they are: bars and no colon make an alternation, a number at the end and
  at most one more colon a schedule, anything else an emphasis, whose colons and bars are text.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lark import Token
from lark.lark import PostLex

from gesso.core.errors import InputError
from gesso.core.requests import PromptDialect

MAX_DEPTH = 100
"""Brackets inside each other."""
_TERMINALS = (
    *("AND", "BREAK", "ROUND_OPEN", "ROUND_CLOSE", "SQUARE_OPEN", "SQUARE_CLOSE", "COLON", "BAR", "ESCAPE", "TAG"),
    *("COMMENT", "WEIGHT", "WHEN", "PART_WEIGHT", "WORD", "TEXT"),
)
_COMFYUI = frozenset({"ROUND_OPEN", "ROUND_CLOSE", "WEIGHT", "ESCAPE"})
_COMFYUI_ESCAPES = frozenset({r"\(", r"\)"})
_POSITIVE_ONLY = frozenset({"AND", "PART_WEIGHT", "TAG"})


@dataclass(eq=False)
class _Open:
    """A bracket that is open, and the places of what may turn out to be separators in it."""

    place: int
    kind: str
    colons: list[int] = field(default_factory=list[int])
    bars: list[int] = field(default_factory=list[int])
    when: int | None = None


class Brackets(PostLex):
    """Turns terminals of the text into terminals of the rules."""

    always_accept = _TERMINALS

    def __init__(self, dialect: PromptDialect, *, negative: bool) -> None:
        self._dialect = dialect
        self._left_out = frozenset[str]() if dialect is PromptDialect.A1111 else frozenset({"COMMENT"})
        if negative:
            self._left_out |= _POSITIVE_ONLY

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        return iter(_Pass(self._dialect).over(self._meant(list(stream))))

    def _meant(self, tokens: list[Token]) -> Iterator[Token]:
        """The tokens, those that mean nothing in this dialect as text."""
        alone = not any(token.type == "AND" for token in tokens)
        for token in tokens:
            if self._dialect is PromptDialect.COMFYUI:
                kept = token.type in _COMFYUI and (token.type != "ESCAPE" or token in _COMFYUI_ESCAPES)
            elif token.type == "PART_WEIGHT" and alone and self._dialect is PromptDialect.GESSO:
                kept = False  # `in 16:9` is no weight
            else:
                kept = token.type not in self._left_out
            yield token if kept else _text(token)


class _Pass:
    """One pass over the tokens of a prompt."""

    def __init__(self, dialect: PromptDialect) -> None:
        self._comfyui = dialect is PromptDialect.COMFYUI
        self._out: list[Token] = []
        self._open: list[_Open] = []

    def over(self, tokens: Iterable[Token]) -> list[Token]:
        for token in tokens:
            match token.type:
                case "ROUND_OPEN" | "SQUARE_OPEN":
                    self._begin(token)
                case "ROUND_CLOSE":
                    self._close_round(token)
                case "SQUARE_CLOSE":
                    self._close_square(token)
                case "WEIGHT" if self._has_open("ROUND_OPEN"):
                    self._end_inside("ROUND_OPEN")
                    self._out.append(token)
                case "WHEN" | "COLON" | "BAR" if self._open and self._open[-1].kind == "SQUARE_OPEN":
                    self._note(token)
                case "AND" | "PART_WEIGHT":
                    self._end_all()
                    self._out.append(token)
                case "TEXT" | "ESCAPE" | "BREAK" | "TAG" | "COMMENT":
                    self._out.append(token)
                case _:
                    self._out.append(_text(token))
        self._end_all()
        return self._out

    def _begin(self, token: Token) -> None:
        if len(self._open) == MAX_DEPTH:
            raise InputError(
                f"The prompt has more than {MAX_DEPTH} brackets inside each other",
                hint="close them, or write a bracket that is meant as such with a backslash before it",
            )
        self._open.append(_Open(place=len(self._out), kind=token.type))
        self._out.append(token)

    def _note(self, token: Token) -> None:
        """A separator, if its bracket turns out to be one that has any; until then it is text."""
        bracket = self._open[-1]
        if token.type == "WHEN":
            bracket.when = len(self._out)
        else:
            (bracket.colons if token.type == "COLON" else bracket.bars).append(len(self._out))
        self._out.append(_text(token))

    def _close_round(self, token: Token) -> None:
        if not self._has_open("ROUND_OPEN"):
            self._out.append(_text(token))
            return
        self._end_inside("ROUND_OPEN")
        self._open.pop()
        self._out.append(token)

    def _close_square(self, token: Token) -> None:
        if not self._has_open("SQUARE_OPEN"):
            self._out.append(_text(token))
            return
        self._end_inside("SQUARE_OPEN")
        bracket = self._open.pop()
        if bracket.bars and not bracket.colons and bracket.when is None:
            self._retype(bracket.place, "ALTERNATION_OPEN")
            for place in bracket.bars:
                self._retype(place, "BAR")
        elif bracket.when is not None and not bracket.bars and len(bracket.colons) <= 1:
            self._retype(bracket.place, "SCHEDULE_OPEN")
            self._retype(bracket.when, "WHEN")
            for place in bracket.colons:
                self._retype(place, "COLON")
        self._out.append(token)

    def _has_open(self, kind: str) -> bool:
        return any(bracket.kind == kind for bracket in self._open)

    def _end_inside(self, kind: str) -> None:
        """Whatever is open inside the last bracket of `kind` ends here."""
        while self._open[-1].kind != kind:
            self._end_last()

    def _end_all(self) -> None:
        while self._open:
            self._end_last()

    def _end_last(self) -> None:
        bracket = self._open.pop()
        if self._comfyui:
            self._retype(bracket.place, "TEXT")
        else:
            self._retype(bracket.place, "UNCLOSED")
            self._out.append(Token("END", ""))

    def _retype(self, place: int, kind: str) -> None:
        self._out[place] = self._out[place].update(type=kind)


def _text(token: Token) -> Token:
    return token.update(type="TEXT")
