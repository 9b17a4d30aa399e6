"""Where pictures go and what they are called, safe between threads and processes."""

import os
import re
import string
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gesso.core.errors import InputError, SettingsError
from gesso.core.files import reporting_storage, write_atomically
from gesso.core.recipe import Recipe
from gesso.core.requests import OutputFormat
from gesso.core.settings import Settings

SUFFIXES = {
    ".png": OutputFormat.PNG,
    ".jpg": OutputFormat.JPEG,
    ".jpeg": OutputFormat.JPEG,
    ".webp": OutputFormat.WEBP,
}
_SUFFIX_OF = {OutputFormat.PNG: ".png", OutputFormat.JPEG: ".jpg", OutputFormat.WEBP: ".webp"}
OTHER_SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".heic", ".heif", ".jxl", ".ppm", ".tga", ".tif", ".tiff"})
"""Of pictures that are neither written nor read."""
_SIDECAR_SUFFIX = ".gesso.json"


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where the pictures of a request go: to one `file`, or into `folder` under names made from `pattern`."""

    file: Path | None
    folder: Path
    pattern: str
    output_format: OutputFormat | None
    """What the file's suffix says; `None` leaves it to the request."""


def destination(out: Path | None, settings: Settings, *, count: int, asked: OutputFormat | None) -> Destination:
    """Decide where pictures go, before any is made.

    Args:
        out: as given with `--out`; see `gesso.engine.pictures.save`.
        count: how many pictures there will be.
        asked: the format, if it was asked for by name.

    Raises:
        InputError: several pictures and one file, a suffix that fits no format or not the one asked for.
    """
    if out is None:
        return Destination(
            file=None, folder=settings.output_folder, pattern=settings.output_pattern, output_format=None
        )
    suffix = out.suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise InputError(f"`{out}` asks for a format that is not written", hint=f"known: {', '.join(SUFFIXES)}")
    if suffix not in SUFFIXES or os.path.isdir(out):
        pattern = settings.output_pattern.rpartition("/")[2]
        return Destination(file=None, folder=out, pattern=pattern, output_format=None)
    if count > 1:
        raise InputError(f"{count} pictures cannot go to one file, `{out}`", hint="give a folder instead")
    if asked is not None and asked is not SUFFIXES[suffix]:
        raise InputError(f"Asked for {asked} in `{out}`, whose suffix says {SUFFIXES[suffix]}", hint="leave one out")
    return Destination(file=out, folder=out.parent, pattern="", output_format=SUFFIXES[suffix])


def sidecar_path(path: Path) -> Path:
    """The file beside a picture for a recipe that does not fit into it: `NAME.gesso.json`, NAME with its suffix."""
    return path.with_name(path.name + _SIDECAR_SUFFIX)


def write_picture(place: Destination, recipe: Recipe, data: bytes, sidecar: bytes | None) -> Path:
    """Write an encoded picture under its name, with its sidecar if there is one.

    Raises:
        StorageError: it could not be written; neither a part of it nor a folder made for it is left behind.
    """
    if place.file is not None:
        with _new_folders(place.folder):
            write_atomically(place.file, data)
            _write_sidecar(place.file, sidecar)
        return place.file
    head, _, tail = place.pattern.rpartition("/")
    if not tail or "number" in _fields(head):
        raise SettingsError(
            f"Setting `output_pattern` is not usable: `{place.pattern}`",
            hint="its last part names the file; `{number}` counts within a folder and belongs there",
        )
    values = _values(recipe)
    folder = place.folder / head.format(**values)
    suffix = _SUFFIX_OF[place.output_format or recipe.resolved.output_format]
    with _new_folders(folder), _numbering(folder):
        path = _written_under_a_free_name(folder, tail, values, suffix, data)
        _write_sidecar(path, sidecar)
    return path


def write_under(folder: Path, name: str, output_format: OutputFormat, data: bytes) -> Path:
    """Write an encoded picture into `folder` as `name`, or `name-1`, `name-2`, … where others are: none is replaced.

    Raises:
        StorageError: it could not be written.
    """
    with _new_folders(folder), _numbering(folder):
        return _written_under_a_free_name(folder, "{name}", {"name": name}, _SUFFIX_OF[output_format], data)


def _written_under_a_free_name(folder: Path, pattern: str, values: Mapping[str, Any], suffix: str, data: bytes) -> Path:
    numbered = "number" in _fields(pattern)
    number = _next_number(folder, pattern) if numbered else 0
    while True:
        name = pattern.format(**values, number=number)
        if number and not numbered:
            name = f"{name}-{number}"
        path = folder / f"{name}{suffix}"
        try:
            write_atomically(path, data, exclusive=True)
        except FileExistsError:  # without `{number}`, or taken by somebody who does not keep to the lock
            number += 1
        else:
            return path


def _write_sidecar(path: Path, sidecar: bytes | None) -> None:
    beside = sidecar_path(path)
    if sidecar is None:
        with suppress(OSError):
            beside.unlink()  # of a picture that stood here before
        return
    try:
        write_atomically(beside, sidecar)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _values(recipe: Recipe) -> dict[str, Any]:
    made = datetime.fromisoformat(recipe.run.created).astimezone()  # the day it was where the reader is
    return {
        "date": made.date().isoformat(),
        "seed": recipe.run.seed,
        "index": recipe.run.index,
        # A path or a hub id becomes one part of a name that every file system takes.
        "model": re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "-", recipe.resolved.model).strip(" .-") or "model",
    }


def _fields(pattern: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(pattern) if name}


def _next_number(folder: Path, pattern: str) -> int:
    """One more than the largest number that a file of such a name has, whatever its seed and suffix."""
    expression = ""
    for literal, name, _, _ in string.Formatter().parse(pattern):
        expression += re.escape(literal)
        if name == "number":
            expression += r"(?P<number>\d+)" if "(?P" not in expression else r"\d+"
        elif name:
            expression += ".*?"
    named = re.compile(rf"{expression}(?:\..*)?", re.DOTALL)
    with reporting_storage(folder):
        matches = [named.fullmatch(entry.name) for entry in os.scandir(folder)]
    return max((int(match["number"]) + 1 for match in matches if match), default=0)


@contextmanager
def _new_folders(folder: Path) -> Generator[None]:
    """Make `folder`; if what follows fails, remove what was made for it and is empty."""
    missing: list[Path] = []
    for parent in (folder, *folder.parents):
        if parent.exists():
            break
        missing.append(parent)
    try:
        with reporting_storage(folder):
            folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for made in missing:
            with suppress(OSError):
                made.rmdir()
        raise


@contextmanager
def _numbering(folder: Path) -> Generator[None]:
    """Hold the numbers of a folder: one picture at a time looks for the next one and takes it.

    The lock is the operating system's, on the folder itself, so that nothing is left behind by whoever dies with it.
    Where there is no such lock, names are still unique, only a number may occur twice with two seeds.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with reporting_storage(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
