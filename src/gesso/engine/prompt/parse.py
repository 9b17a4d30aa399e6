"""Text to syntax tree. Every text has one; the grammar is `grammar.lark`, of one terminal of look-ahead, so that the
time is that of reading the text."""

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from lark import Lark, Token, Transformer

from gesso.core.requests import PromptDialect
from gesso.engine.prompt.brackets import Brackets
from gesso.engine.prompt.tree import Alternation, Break, Comment, Emphasis, Node, Part, Prompt, Schedule, Sequence, Tag
from gesso.engine.prompt.tree import Text as Words


@lru_cache(maxsize=256)  # one is read several times: for its networks, for its checks, for its steps
def parse(text: str, dialect: PromptDialect, *, negative: bool = False) -> Prompt:
    """The syntax tree of a prompt; `str` of it is `text`.

    Args:
        negative: of a negative prompt, in which `AND` and `<lora:…>` are text.

    Raises:
        InputError: more brackets inside each other than anybody could mean.
    """
    if dialect is PromptDialect.PLAIN:
        return Prompt((Part((Words(text, text),) if text else ()),), dialect)
    parts: Any = _parser(dialect, negative).parse(text)
    return Prompt(parts, dialect)


@cache
def _parser(dialect: PromptDialect, negative: bool) -> Lark:
    return Lark.open(
        "grammar.lark",
        rel_to=__file__,
        parser="lalr",
        lexer="basic",
        postlex=Brackets(dialect, negative=negative),
        transformer=_Tree(),
    )


class _Tree(Transformer[Token, tuple[Part, ...]]):
    """What each rule becomes. Applied while parsing, from the inside out, so that nesting costs no recursion."""

    def start(self, children: list[Any]) -> tuple[Part, ...]:
        return tuple(child for child in children if isinstance(child, Part))

    def part(self, children: list[Any]) -> Part:
        inside, *weight = children
        return Part(inside, *map(str, weight))

    def sequence(self, children: list[Any]) -> Sequence:
        return tuple(_joined(_node(child) if isinstance(child, Token) else child for child in children))

    def emphasis(self, children: list[Any]) -> Emphasis:
        opening, inside, *weight, closing = children
        return Emphasis(str(opening), inside, *map(str, weight), closing=str(closing))

    def schedule(self, children: list[Any]) -> Schedule:
        _, first, *rest, when, _ = children
        return Schedule(first, rest[1], str(when)) if rest else Schedule(None, first, str(when))

    def alternation(self, children: list[Any]) -> Alternation:
        return Alternation(tuple(child for child in children if isinstance(child, tuple)))


def _node(token: Token) -> Node:
    match token.type:
        case "BREAK":
            return Break()
        case "TAG":
            kind, _, arguments = token[1:-1].partition(":")
            return Tag(kind, arguments)
        case "COMMENT":
            return Comment(str(token))
        case "ESCAPE":
            return Words(str(token), token[1:])
        case _:
            return Words(str(token), str(token))


def _joined(nodes: Iterator[Node]) -> Iterator[Node]:
    """Neighbouring words as one node."""
    words: list[Words] = []
    for node in nodes:
        if isinstance(node, Words):
            words.append(node)
            continue
        yield from _one(words)
        words = []
        yield node
    yield from _one(words)


def _one(words: list[Words]) -> Iterator[Words]:
    if words:
        yield Words("".join(word.written for word in words), "".join(word.text for word in words))
