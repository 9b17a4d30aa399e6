"""Adapters by name, or by path."""

import os
from dataclasses import dataclass
from pathlib import Path

from gesso.core.errors import InputError, ModelError, UnknownNameError
from gesso.models.index.names import DIFFUSERS_ADAPTER
from gesso.models.recognition.kinds import Kind
from gesso.models.store import ModelStore, looks_like_path

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Of files that may be adapters, the better first."""


@dataclass(frozen=True, kw_only=True)
class AdapterPlace:
    """Where an adapter is."""

    name: str
    """What it is found by again: its name, or its whole path if it was asked for by path."""
    path: Path

    @property
    def title(self) -> str:
        """What people call it."""
        return _name_of(self.path)


def find_adapter(name: str, store: ModelStore) -> AdapterPlace:
    """The adapter called `name`: a file as the store finds it, a folder by diffusers' habit, or a path.

    Raises:
        UnknownNameError: there is none; the nearest names are in the hint.
        InputError, ModelError: there is nothing at the path; several files have the name, or the one is broken.
    """
    path = Path(os.path.expanduser(name))
    if looks_like_path(name) or path.is_file():
        return AdapterPlace(name=str(path.resolve()), path=_file_at(path, name))
    try:
        return AdapterPlace(name=name, path=_found(name, store))
    except UnknownNameError as error:
        hint = "give the path of a file, or put it into a model folder"
        nearest = UnknownNameError("adapter", name, [file.name for file in store.files(kinds={Kind.LORA})]).nearest
        hint = f"nearest: {', '.join(nearest)}; {hint}" if nearest else hint
        raise UnknownNameError("adapter", name, [], hint=hint) from error


def _found(name: str, store: ModelStore) -> Path:
    try:
        return store.find_file(name, kinds={Kind.LORA}).path
    except ModelError:  # several, or something else, which the reader of its header can tell better
        return store.find_file(name).path


def _file_at(path: Path, asked: str) -> Path:
    if path.is_dir():
        inside = [path / f"{DIFFUSERS_ADAPTER}{suffix}" for suffix in SUFFIXES]
        path = next((file for file in inside if file.is_file()), path)
    if path.is_dir():
        raise InputError(f"`{asked}` is a folder without `{DIFFUSERS_ADAPTER}`", hint="name the file of the adapter")
    if not path.exists():
        raise InputError(f"There is no adapter `{asked}`", hint="check the path")
    return path


def _name_of(file: Path) -> str:
    return file.parent.name if file.stem == DIFFUSERS_ADAPTER else file.stem
