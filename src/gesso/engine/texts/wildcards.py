"""Wildcards: lists of values by name, in the folders of the settings.

| file | names |
|---|---|
| `hair/colour.txt` | `__hair/colour__`; a value a line, `2::red` twice as often, `#` begins a comment line |
| `clothes.yaml`, `.json` | `__tops/warm__`: the keys on the way to a list; the name of the file does not count |

A list that is all of a file is called like a text file's. `*` in a name stands for anything: the values of all lists
that fit. Upper and lower case are the same.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from gesso.core.errors import InputError, UnknownNameError
from gesso.engine.prompt.choices import Option, parse_template
from gesso.engine.texts.lists import STRUCTURED, ReadFiles, hint_of_broken, structure_of, text_of

_SHARE = re.compile(r"\s*(?:\d+(?:\.\d*)?|\.\d+)::")
_SUFFIXES = (".txt", *STRUCTURED)
_Lists = dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class WildcardList:
    """A list of values, as written."""

    name: str
    path: Path
    values: tuple[str, ...]


class Wildcards:
    """The wildcards of some folders; of two of one name, that of the first folder. Safe to use from many threads."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._files = ReadFiles[_Lists](self._folders, _SUFFIXES, _read)

    def lists(self) -> dict[str, WildcardList]:
        """All of them, by name in lower case."""
        return _by_name(self._files.now()[0])

    def broken(self) -> dict[Path, str]:
        """Files that cannot be read, and why."""
        return self._files.now()[1]

    def lookup(self) -> "Lookup":
        """The wildcards as they are now."""
        files, broken = self._files.now()
        return Lookup(_by_name(files), self._folders, broken)


def _by_name(files: Sequence[tuple[Path, _Lists]]) -> dict[str, WildcardList]:
    found: dict[str, WildcardList] = {}
    for path, lists in files:
        for called, values in lists.items():
            found.setdefault(called.casefold(), WildcardList(name=called, path=path, values=values))
    return found


class Lookup:
    """Wildcards that do not change while the pictures of a request choose of them: name → values."""

    def __init__(self, lists: dict[str, WildcardList], folders: Sequence[Path], broken: dict[Path, str]) -> None:
        self._lists = lists
        self._folders = folders
        self._broken = broken
        self._found: dict[str, tuple[Option, ...]] = {}

    def __call__(self, name: str) -> tuple[Option, ...]:
        """The values of a wildcard, or of all that a name with stars fits, each once.

        Raises:
            UnknownNameError: there is none, or none with values.
        """
        if name not in self._found:
            self._found[name] = self._values(name)
        return self._found[name]

    def _values(self, name: str) -> tuple[Option, ...]:
        asked = name.casefold()
        if "*" in asked:
            fitting = [self._lists[each] for each in sorted(self._lists) if fnmatchcase(each, asked)]
        else:
            fitting = [self._lists[asked]] if asked in self._lists else []
        values = dict.fromkeys(value for each in fitting for value in each.values)
        if not values:
            raise UnknownNameError("wildcard", name, sorted(self._lists), hint=self._hint(name, empty=bool(fitting)))
        return tuple(_option(value) for value in values)

    def _hint(self, name: str, *, empty: bool) -> str | None:
        folders = ", ".join(f"`{folder}`" for folder in self._folders) or "no folder"
        if empty:
            return f"its file in {folders} has no values"
        if self._broken:
            return hint_of_broken("wildcard", name, sorted(self._lists), self._broken)
        if not self._lists:
            return f"there are no wildcards in {folders}; a text with `__` as it stands: `--no-dynamic`"
        return None


def _option(value: str) -> Option:
    share = _SHARE.match(value)
    end = share.end() if share is not None else 0
    try:
        return Option(value[:end], parse_template(value[end:]))
    except InputError as error:
        raise InputError(f"The value `{value}` of a wildcard: {error.message}", hint=error.hint) from error


def _read(name: str, path: Path) -> _Lists:
    if path.suffix.lower() == ".txt":
        lines = [line.strip() for line in text_of(path).splitlines()]
        return {name: tuple(line for line in lines if line and not line.startswith("#"))}
    folder, _, _ = name.rpartition("/")
    content = structure_of(path)
    if isinstance(content, list):
        return {name: _texts(cast("list[Any]", content))}
    return dict(_lists(content, folder))


def _lists(content: Any, inside: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    if not isinstance(content, dict):
        return  # as sd-dynamic-prompts does: only lists are wildcards
    for key, value in cast("dict[Any, Any]", content).items():
        name = f"{inside}/{key}" if inside else str(key)
        if isinstance(value, list):
            yield name, _texts(cast("list[Any]", value))
        else:
            yield from _lists(value, name)


def _texts(values: list[Any]) -> tuple[str, ...]:
    return tuple(str(value).strip() for value in values if isinstance(value, str | int | float))
