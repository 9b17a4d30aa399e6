"""Removing models: only out of Gesso's own folders, and never through a link."""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gesso.core.errors import InputError, ModelError, StorageError
from gesso.core.files import reporting_storage
from gesso.models.index.entry import IndexedFile
from gesso.models.index.finding import spells
from gesso.models.index.walk import sidecar_names
from gesso.models.store import ModelStore
from gesso.models.weights import WEIGHT_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What removing a model takes away."""

    name: str
    paths: tuple[Path, ...]
    """A folder, or a file and what lies beside it to describe it."""
    freed_bytes: int
    """Of files that have another name on the disk, nothing is freed."""

    def carry_out(self) -> None:
        """Take it all away. A folder gets a hidden name first: what is interrupted leaves no half of a model.

        Raises:
            StorageError: the disk does not let it go.
        """
        for path in self.paths:
            try:
                with reporting_storage(path):
                    _remove(path)
            except StorageError as error:
                raise StorageError(error.message, hint="check the rights of the folder in which it lies") from error


def plan_removal(store: ModelStore, name: str) -> Removal:
    """Say what removing the model or file called `name` would take away.

    Raises:
        UnknownNameError: there is none.
        InputError: it is not Gesso's to remove; says where it lies.
    """
    model = store.find_any(name)
    path = Path(os.path.abspath(model.path))
    if isinstance(model, IndexedFile) and any(spells(name, other) and other.is_link for other in model.others):
        raise InputError(
            f"`{name}` is a link to `{path}`", hint="remove the link yourself, or the file by its own name"
        )
    _check_own(store, model.name, path)
    paths = (path,) if path.is_dir() else (path, *_sidecars(path))
    return Removal(name=model.name, paths=paths, freed_bytes=sum(_freed(path) for path in paths))


def _remove(path: Path) -> None:
    if path.is_dir():
        hidden = path.with_name(f".removed-{secrets.token_hex(4)}")
        path.rename(hidden)
        shutil.rmtree(hidden)
    else:
        path.unlink(missing_ok=True)


def _check_own(store: ModelStore, name: str, path: Path) -> None:
    lies = f"`{name}` is not Gesso's to remove: it lies in `{path}`"
    root = next((root for folder in store.folders if path.is_relative_to(root := Path(os.path.abspath(folder)))), None)
    if root is None:
        raise InputError(f"{lies}, outside the model folders", hint="remove it where it came from")
    if path == root:
        raise InputError(f"{lies}, which is a model folder itself", hint="remove the folder yourself")
    below = path.relative_to(root).parts
    link = next((link for end in range(len(below) + 1) if (link := root.joinpath(*below[:end])).is_symlink()), None)
    if link is not None:
        hint = f"remove the link `{link}` yourself, or the file where it lies"
        raise InputError(f"{lies}, through a link to `{os.path.realpath(path)}`", hint=hint)
    for linked in store.linked():
        if any(Path(os.path.realpath(path)).is_relative_to(os.path.realpath(place.root)) for place in linked.places):
            hint = "remove it there, or `gesso models unlink` the folder first"
            raise InputError(f"{lies}, which belongs to the linked `{linked.folder}`", hint=hint)


def _sidecars(path: Path) -> Iterator[Path]:
    """Descriptions of this file, and of no other with the same name and another ending."""
    own, *of_the_stem = sidecar_names(path.name)
    others = [path.with_suffix(suffix) for suffix in WEIGHT_SUFFIXES if suffix != path.suffix]
    shared = any(other.exists() for other in others)
    for name in [own] if shared else [own, *of_the_stem]:
        sidecar = path.with_name(name)
        if sidecar.is_file() and not sidecar.is_symlink():
            yield sidecar


def _freed(path: Path) -> int:
    try:
        states = [found.lstat() for found in (path.rglob("*") if path.is_dir() else (path,))]
    except OSError as error:
        raise ModelError(f"`{path}` could not be read: {error.strerror}", hint="check its rights") from error
    return sum(state.st_size for state in states if stat.S_ISREG(state.st_mode) and state.st_nlink == 1)
