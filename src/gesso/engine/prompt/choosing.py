"""Choosing from dynamic prompts: the same seed chooses the same text, on every machine and in every version."""

import random
from collections.abc import Callable, Sequence

from gesso.core.errors import InputError
from gesso.core.requests import MAX_PROMPT_CHARACTERS
from gesso.engine.prompt.choices import Choice, Literal, Option, Template, Wildcard

_MOST_AT_ONCE = 1000
"""Values of one choice: each is drawn from all that are left."""
Values = Callable[[str], Sequence[Option]]
"""Name of a wildcard → its values; raises `UnknownNameError` where there is none of that name."""


def has_choices(template: Template) -> bool:
    """Whether another seed may choose another text."""
    return any(not isinstance(node, Literal) for node in template)


def check_names(template: Template, values: Values) -> None:
    """Make sure that every name can be looked up, in any choice, also of values in values.

    Raises:
        UnknownNameError: there is no such wildcard.
        InputError: a wildcard is one of its own values, or its values have no weight.
    """
    _Checked(values).check(template, ())


class _Checked:
    """Names that were looked at; each once."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._done: set[str] = set()

    def check(self, template: Template, inside: tuple[str, ...]) -> None:
        for node in template:
            match node:
                case Wildcard(name=name):
                    self._look(name, inside)
                case Choice(options=options):
                    for option in options:
                        self.check(option.inside, inside)
                case _:
                    pass

    def _look(self, name: str, inside: tuple[str, ...]) -> None:
        if name in inside:
            way = " > ".join(f"`__{each}__`" for each in (*inside[inside.index(name) :], name))
            raise InputError(f"A wildcard is one of its own values: {way}", hint="take it out of its file")
        if name in self._done:
            return
        for value in self._values(name):
            self.check(value.inside, (*inside, name))
        self._done.add(name)


class Chooser:
    """Chooses texts for one picture.

    Args:
        seed: the same seed and `what` choose the same.
        what: which text it is; those of different names are chosen apart.
        unescape: take the backslashes away that took the meaning off signs of dynamic prompts; where the prompt
            language is read afterwards, it does so itself.
    """

    def __init__(self, values: Values, *, seed: int, what: str, unescape: bool) -> None:
        self._values = values
        self._unescape = unescape
        self._random = random.Random(f"{what} {seed}")  # whose `random()` Python promises to keep
        self._length = 0
        self._drawings = 0

    def text(self, template: Template) -> str:
        """One text of `template`.

        Raises:
            InputError: it grows beyond what is read of a prompt, or of a choice nothing can be chosen.
        """
        return "".join(self._chosen(node) for node in template)

    def _chosen(self, node: Literal | Wildcard | Choice) -> str:
        match node:
            case Literal():
                text = node.unescaped if self._unescape else node.written
                self._length += len(text)
                if self._length > 4 * MAX_PROMPT_CHARACTERS:  # of what is chosen some may be left out again
                    raise InputError("The prompt grows without end by its choices", hint="choose from shorter texts")
                return text
            case Wildcard(name=name):
                values = self._values(name)
                return self.text(values[self._drawn([value.weight for value in values], node)].inside)
            case Choice():
                return self._several(node)

    def _several(self, choice: Choice) -> str:
        options = list(choice.options)
        if choice.count and len(options) == 1 and (name := _only_wildcard(options[0])) is not None:
            options = list(self._values(name))  # several values of one list, none twice
        left = [option for option in options if option.weight > 0]
        weights = [option.weight for option in left]
        least, most = choice.numbers(len(left))
        if not left:
            raise InputError(f"Nothing can be chosen of `{choice}`: all weights are 0", hint="give one of them more")
        count = least + int(self._random.random() * (most - least + 1))
        if count > _MOST_AT_ONCE:
            raise InputError(f"{count:,} values are chosen at once", hint=f"choose {_MOST_AT_ONCE:,} at most")
        texts: list[str] = []
        for _ in range(count):
            place = self._drawn(weights, choice)
            del weights[place]
            texts.append(self.text(left.pop(place).inside))
        return choice.separator.join(text for text in texts if text.strip()) if choice.count else "".join(texts)

    def _drawn(self, weights: Sequence[float], what: object) -> int:
        """The place of one of them, the more often the more it weighs."""
        self._drawings += 1
        if self._drawings > MAX_PROMPT_CHARACTERS:  # each may draw others, and say nothing itself
            raise InputError("The prompt grows without end by its choices", hint="let values name fewer others")
        total = sum(weights)
        if not total:
            raise InputError(f"Nothing can be chosen of `{what}`: all weights are 0", hint="give one of them more")
        rest = self._random.random() * total
        for place, weight in enumerate(weights):
            rest -= weight
            if rest < 0:
                return place
        return max(place for place, weight in enumerate(weights) if weight)


def _only_wildcard(option: Option) -> str | None:
    inside = [node for node in option.inside if not (isinstance(node, Literal) and not node.written.strip())]
    match inside:
        case [Wildcard(name=name)]:
            return name
        case _:
            return None
