"""Dynamic prompts as people of sd-dynamic-prompts write them: `{a|b}`, `{2::a|b}`, `{2$$ and $$a|b|c}`, `__name__`.

They are read before all else, so anything may stand in them, and what is chosen is read as if it had been written. A
brace, bar or dollar means something only in a whole construction, and is text otherwise:

- Braces make a choice if they hold a bar, or begin with a number and `$$`; others are text.
- Bars in square brackets belong to these: `{[cat|dog]|bird}` chooses between two.
- `__name__` has no letter or digit right before or behind it.
- A backslash takes the meaning off `{ } | _ $`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, TypeAlias

from lark import Lark, Token, Transformer
from lark.lark import PostLex

from gesso.core.errors import InputError

MAX_DEPTH = 100
"""Braces inside each other."""
_TERMINALS = (*("OPEN", "CLOSE", "BAR", "SQUARE_OPEN", "SQUARE_CLOSE", "ESCAPE", "WILDCARD", "COUNT", "SHARE", "TEXT"),)
_VARIABLE = re.compile(r"(?<!\\)\$\{\s*(\w+)\s*[=:}]")
_TAKEN_OFF = frozenset("{}|_$")


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that stays as it is."""

    written: str
    unescaped: str
    """Without the backslashes that took the meaning off something here."""

    def __str__(self) -> str:
        return self.written


@dataclass(frozen=True, slots=True)
class Wildcard:
    """`__name__`: a value of a list."""

    name: str

    def __str__(self) -> str:
        return f"__{self.name}__"


@dataclass(frozen=True, slots=True)
class Option:
    """What stands between two bars. `share` is as written, up to `::`."""

    share: str
    inside: "Template"

    @property
    def weight(self) -> float:
        """How often it is chosen, beside the others'."""
        return float(self.share.removesuffix("::")) if self.share else 1.0

    def __str__(self) -> str:
        return f"{self.share}{written(self.inside)}"


@dataclass(frozen=True, slots=True)
class Choice:
    """`{a|b}`. `count` is as written, up to the last `$$`."""

    count: str
    options: tuple[Option, ...]

    @property
    def separator(self) -> str:
        """What stands between several values."""
        _, *given = self.count.split("$$")
        return given[0] if len(given) == 2 else ", "

    def numbers(self, most: int) -> tuple[int, int]:
        """How many values at least and at most, of `most` that there are."""
        if not self.count:
            return 1, 1
        least, dash, last = self.count.partition("$$")[0].strip().partition("-")
        first = int(least or 1)
        found = (first, (int(last) if last else most) if dash else first)
        return min(min(found), most), min(max(found), most)

    def __str__(self) -> str:
        return f"{{{self.count}{'|'.join(map(str, self.options))}}}"


Template: TypeAlias = tuple[Literal | Wildcard | Choice, ...]


def written(template: Template) -> str:
    """What was parsed as `template`."""
    return "".join(map(str, template))


@lru_cache(maxsize=4096)
def parse_template(text: str) -> Template:
    """The syntax tree of a dynamic prompt; `written` of it is `text`.

    Raises:
        InputError: something of sd-dynamic-prompts that is not read, or braces deeper than anybody could mean.
    """
    if (variable := _VARIABLE.search(text)) is not None:
        raise InputError(
            f"Variables of dynamic prompts are not read: `${{{variable[1]}`",
            hint="write what it stands for; for a text with these signs, put a backslash before the dollar",
        )
    if not {"{", "_", "\\"} & set(text):
        return (Literal(text, text),) if text else ()
    return _parser().parse(text)  # pyright: ignore[reportReturnType]  (the transformer's)


@cache
def _parser() -> Lark:
    return Lark.open(
        "choices.lark", rel_to=__file__, parser="lalr", lexer="basic", postlex=_Braces(), transformer=_Tree()
    )


class _Tree(Transformer[Token, Template]):
    """What each rule becomes."""

    def start(self, children: list[Any]) -> Template:
        return children[0]

    def sequence(self, children: list[Any]) -> Template:
        return tuple(_joined(_node(child) if isinstance(child, Token) else child for child in children))

    def option(self, children: list[Any]) -> Option:
        *share, inside = children
        return Option("".join(share), inside)

    def choice(self, children: list[Any]) -> Choice:
        count = "".join(child for child in children if isinstance(child, Token) and child.type == "COUNT")
        return Choice(count, tuple(child for child in children if isinstance(child, Option)))


def _node(token: Token) -> Literal | Wildcard:
    if token.type == "WILDCARD":
        return Wildcard(token[2:-2])
    escape = token.type == "ESCAPE" and token[1:] in _TAKEN_OFF
    return Literal(str(token), token[1:] if escape else str(token))


def _joined(nodes: Iterable[Any]) -> Iterator[Any]:
    """Neighbouring text as one node."""
    texts: list[Literal] = []
    for node in (*nodes, None):
        if isinstance(node, Literal):
            texts.append(node)
            continue
        if texts:
            yield Literal("".join(t.written for t in texts), "".join(t.unescaped for t in texts))
            texts = []
        if node is not None:
            yield node


@dataclass(eq=False)
class _Open:
    """A bracket that is open, and the places of what may turn out to be its own."""

    place: int
    brace: bool
    bars: list[int] = field(default_factory=list[int])
    shares: list[int] = field(default_factory=list[int])
    count: int | None = None


class _Braces(PostLex):
    """Turns terminals of the text into terminals of the rules: which brace closes which, and whether they choose."""

    always_accept = _TERMINALS

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        out: list[Token] = []
        opened: list[_Open] = []
        for token in stream:
            place, top = len(out), opened[-1] if opened else None
            out.append(token if token.type in {"ESCAPE", "WILDCARD"} else token.update(type="TEXT"))
            match token.type:
                case "OPEN" | "SQUARE_OPEN":
                    opened.append(_Open(place, token.type == "OPEN"))
                    if len(opened) > MAX_DEPTH:
                        raise InputError(
                            f"The prompt has more than {MAX_DEPTH} brackets inside each other",
                            hint="close them, or write a bracket that is meant as such with a backslash before it",
                        )
                case "SQUARE_CLOSE" if top is not None and not top.brace:
                    opened.pop()
                case "BAR" if top is not None:
                    top.bars.append(place)
                case "COUNT" if top is not None and top.brace and top.place == place - 1:
                    top.count = place
                case "SHARE" if top is not None and place - 1 in (top.place, top.count, *top.bars[-1:]):
                    top.shares.append(place)
                case "CLOSE" if any(each.brace for each in opened):
                    self._close(out, opened, place)
                case _:
                    pass
        return iter(out)

    def _close(self, out: list[Token], opened: list[_Open], place: int) -> None:
        inside: list[_Open] = []  # square brackets that nothing closes: their bars are the brace's
        while not opened[-1].brace:
            inside.append(opened.pop())
        brace = opened.pop()
        bars = [*brace.bars, *(bar for each in inside for bar in each.bars)]
        if not bars and brace.count is None:
            return
        kinds = (
            {brace.place: "OPEN", place: "CLOSE"} | dict.fromkeys(bars, "BAR") | dict.fromkeys(brace.shares, "SHARE")
        )
        if brace.count is not None:
            kinds[brace.count] = "COUNT"
        for where, kind in kinds.items():
            out[where] = out[where].update(type=kind)
