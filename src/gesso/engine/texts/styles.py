"""Styles: texts that go round a prompt, from AUTOMATIC1111's `styles.csv`, or YAML or JSON files.

`{prompt}` in a style is where the prompt goes; without it, the style follows the prompt behind a comma. Several are
put round one after the other. The negative prompt has a text of its own in each.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gesso.core.errors import UnknownNameError
from gesso.engine.texts.lists import STRUCTURED, BrokenFileError, ReadFiles, hint_of_broken, structure_of, text_of

_PLACE = "{prompt}"
_SUFFIXES = (".csv", *STRUCTURED)
_NAMES = {"prompt": "prompt", "text": "prompt", "negative_prompt": "negative_prompt", "negative": "negative_prompt"}
"""What files call the two texts."""
_UNREAD = frozenset({"name", "description", "preview"})
"""Other things that a style may hold without changing a picture."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """What goes round the two prompts; empty texts leave them as they are."""

    name: str
    path: Path
    prompt: str = ""
    negative_prompt: str = ""


class Styles:
    """The styles of some files and folders; of two of one name, the first. Safe to use from many threads."""

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = tuple(places)
        self._files = ReadFiles[tuple[Style, ...]](self._places, _SUFFIXES, _read)

    def all(self) -> dict[str, Style]:
        """All of them, by name."""
        found: dict[str, Style] = {}
        for _, styles in self._files.now()[0]:
            for style in styles:
                found.setdefault(style.name, style)
        return found

    def broken(self) -> dict[Path, str]:
        """Files that cannot be read, and why."""
        return self._files.now()[1]

    def named(self, names: Sequence[str]) -> list[Style]:
        """The styles of these names. Raises `UnknownNameError`."""
        if not names:
            return []
        known = self.all()
        for name in names:
            if name not in known:
                raise UnknownNameError("style", name, sorted(known), hint=self._hint(name, known))
        return [known[name] for name in names]

    def _hint(self, name: str, known: dict[str, Style]) -> str | None:
        if broken := self.broken():
            return hint_of_broken("style", name, sorted(known), broken)
        places = ", ".join(f"`{place}`" for place in self._places) or "no file"
        return None if known else f"there are no styles in {places}"


def styled(text: str, styles: Sequence[str]) -> str:
    """`text` with the texts of styles round it, one after the other, as AUTOMATIC1111 does."""
    for style in styles:
        if _PLACE in style:
            text = style.replace(_PLACE, text)
        else:
            text = ", ".join(filter(None, (text.strip(), style.strip()))) if style.strip() else text
    return text


def _read(name: str, path: Path) -> tuple[Style, ...]:
    if path.suffix.lower() == ".csv":
        return tuple(_rows(path))
    return tuple(_entries(structure_of(path), name, path))


def _rows(path: Path) -> Iterator[Style]:
    try:
        rows = list(csv.DictReader(io.StringIO(text_of(path), newline="")))
    except csv.Error as error:
        raise BrokenFileError(f"no table: {error}") from error
    for row in rows:
        name = row.get("name")
        if name and not name.startswith("#"):
            yield _style(name, {key: value for key, value in row.items() if key in _NAMES and value}, path)


def _entries(content: Any, name: str, path: Path) -> Iterator[Style]:
    """One style, which is all of the file, or several: a list of such with names, or names and what they stand for."""
    if isinstance(content, dict):
        fields = cast("dict[Any, Any]", content)
        if _NAMES.keys() & fields.keys() and not any(isinstance(value, dict) for value in fields.values()):
            yield _style(str(fields.get("name", name)), fields, path)
            return
        for key, value in fields.items():
            yield _style(
                str(key), cast("dict[Any, Any]", value) if isinstance(value, dict) else {"prompt": value}, path
            )
    elif isinstance(content, list):
        for one in cast("list[Any]", content):
            if not isinstance(one, dict) or "name" not in one:
                raise BrokenFileError("a list of styles should hold a `name` in each")
            yield _style(str(cast("dict[Any, Any]", one)["name"]), cast("dict[Any, Any]", one), path)
    elif content is not None:
        raise BrokenFileError("it should hold `prompt` and `negative_prompt`")


def _style(name: str, fields: dict[Any, Any], path: Path) -> Style:
    texts: dict[str, str] = {}
    for key, value in fields.items():
        if key in _UNREAD or value in (None, ""):
            continue
        if key not in _NAMES:
            raise BrokenFileError(f"style `{name}` holds `{key}`, which is not read: it should hold texts only")
        if not isinstance(value, str):
            raise BrokenFileError(f"`{key}` of style `{name}` is no text")
        texts[_NAMES[key]] = value
    return Style(name=name, path=path, **texts)
