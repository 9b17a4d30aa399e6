"""Files that people write lists and texts into. They may change at any time; what was read is kept until they do."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from gesso.core.errors import UnknownNameError

MAX_FILE_BYTES = 2**24
_MAX_DEPTH = 8
"""Folders below a folder; links may lead round in a ring."""
T = TypeVar("T")

STRUCTURED = (".yaml", ".yml", ".json")


class BrokenFileError(Exception):
    """A file cannot be read as what it should be; the message says why."""


def hint_of_broken(kind: str, name: str, known: Sequence[str], broken: Mapping[Path, str]) -> str:
    """What to tell of a name that is not known where files could not be read: that of this name, else the first."""
    path = next((path for path in broken if path.stem.casefold() == name.casefold()), next(iter(broken)))
    told = f"`{path}` could not be read: {broken[path]}"
    nearest = UnknownNameError(kind, name, list(known)).nearest
    return f"nearest: {', '.join(nearest)}; {told}" if nearest else told


def files_below(place: Path, suffixes: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Path below `place` without the suffix, and the path, of each file, in the order of the names.

    `place` may be such a file itself; nothing where it is not there.
    """
    place = Path(os.path.expanduser(place))
    if place.suffix.lower() in suffixes and place.is_file():
        yield place.stem, place
        return
    root = os.fspath(place)
    for folder, folders, names in os.walk(root, followlinks=True):
        inside = os.path.relpath(folder, root)
        depth = 0 if inside == os.curdir else inside.count(os.sep) + 1
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < _MAX_DEPTH else []
        for name in sorted(names):
            if Path(name).suffix.lower() in suffixes and not name.startswith("."):
                path = Path(folder) / name
                yield path.relative_to(place).with_suffix("").as_posix(), path


class ReadFiles(Generic[T]):
    """The files of some places, each read again only when it has changed. What broke them is kept too.

    Args:
        places: files, and folders of such, in order.
        read: is given the name of a file, see `files_below`, and its path.
    """

    def __init__(self, places: Sequence[Path], suffixes: Sequence[str], read: Callable[[str, Path], T]) -> None:
        self._places = tuple(places)
        self._suffixes = suffixes
        self._read = read
        self._known: dict[tuple[str, Path], tuple[tuple[int, int], T | str]] = {}

    def now(self) -> tuple[list[tuple[Path, T]], dict[Path, str]]:
        """What is in each file, in the order of the places (one in two of them is there twice, under two names); and of
        those that cannot be read, why."""
        whole: list[tuple[Path, T]] = []
        broken: dict[Path, str] = {}
        for place in self._places:
            for name, path in files_below(place, self._suffixes):
                found = self._get(name, path)
                if isinstance(found, str):
                    broken[path] = found
                else:
                    whole.append((path, found))
        return whole, broken

    def _get(self, name: str, path: Path) -> T | str:
        try:
            status = path.stat()
        except OSError as error:
            return error.strerror or type(error).__name__
        stamp = status.st_mtime_ns, status.st_size
        known = self._known.get((name, path))
        if known is None or known[0] != stamp:
            known = self._known[name, path] = stamp, self._read_now(name, path, status.st_size)
        return known[1]

    def _read_now(self, name: str, path: Path, size_bytes: int) -> T | str:
        if size_bytes > MAX_FILE_BYTES:
            return f"more than {MAX_FILE_BYTES >> 20} MiB"
        try:
            return self._read(name, path)
        except UnicodeDecodeError:
            return "no UTF-8"
        except OSError as error:
            return error.strerror or type(error).__name__
        except BrokenFileError as error:
            return str(error)


def text_of(path: Path) -> str:
    """UTF-8, a mark of the order of bytes at the beginning or not."""
    return path.read_text("utf-8-sig")


def structure_of(path: Path) -> Any:
    """What a YAML or JSON file holds. Raises `BrokenFileError`."""
    import yaml

    text = text_of(path)
    try:
        return json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise BrokenFileError(f"not {'JSON' if path.suffix.lower() == '.json' else 'YAML'}: {line}") from error
