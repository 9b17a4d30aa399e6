"""Adapters and embeddings by name, or by path."""

import os
from dataclasses import dataclass
from pathlib import Path

from gesso.core.errors import InputError, ModelError, UnknownNameError
from gesso.models.index.names import DIFFUSERS_ADAPTER, DIFFUSERS_EMBEDDING, NAMED_BY_FOLDER
from gesso.models.recognition.kinds import Kind
from gesso.models.store import ModelStore, looks_like_path
from gesso.models.weights import WEIGHT_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Sought:
    """What kind of file is looked for."""

    kind: Kind
    called: str
    file_of_folder: str
    """What diffusers calls the file in a folder of its own."""


ADAPTER = Sought(kind=Kind.LORA, called="adapter", file_of_folder=DIFFUSERS_ADAPTER)
EMBEDDING = Sought(kind=Kind.TEXTUAL_INVERSION, called="embedding", file_of_folder=DIFFUSERS_EMBEDDING)


@dataclass(frozen=True, kw_only=True)
class AdapterPlace:
    """Where an adapter is."""

    name: str
    """What it is found by again: its name, or its whole path if it was asked for by path."""
    path: Path

    @property
    def title(self) -> str:
        """What people call it."""
        return title_of(str(self.path))


def title_of(path: str) -> str:
    """What people call a file: its name without the ending, or that of its folder where diffusers gave all one name."""
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0]
    return os.path.basename(folder) if stem in NAMED_BY_FOLDER else stem


def find_adapter(name: str, store: ModelStore, sought: Sought = ADAPTER) -> AdapterPlace:
    """The adapter called `name`: a file as the store finds it, a folder by diffusers' habit, or a path.

    Raises:
        UnknownNameError: there is none; the nearest names are in the hint.
        InputError, ModelError: there is nothing at the path; several files have the name, or the one is broken.
    """
    path = Path(os.path.expanduser(name))
    if looks_like_path(name) or os.path.isfile(path):  # of a name that is too long for any file, too
        return AdapterPlace(name=str(path.resolve()), path=_file_at(path, name, sought))
    try:
        return AdapterPlace(name=name, path=_found(name, store, sought))
    except UnknownNameError as error:
        hint = "give the path of a file, or put it into a model folder"
        known = [file.name for file in store.files(kinds={sought.kind})]
        nearest = UnknownNameError(sought.called, name, known).nearest
        hint = f"nearest: {', '.join(nearest)}; {hint}" if nearest else hint
        raise UnknownNameError(sought.called, name, [], hint=hint) from error


def check_digest(place: AdapterPlace, sha256: str, wanted: str | None, sought: Sought) -> None:
    """Raises `InputError` for another file than the one that is wanted."""
    if wanted is not None and wanted != sha256:
        raise InputError(
            f"`{place.path}` is not the {sought.called} that was asked for: its sha256 begins with {sha256[:10]}, "
            f"wanted is {wanted[:10]}",
            hint=f"put the right file in its place, or name the {sought.called} anew to take this one",
        )


def _found(name: str, store: ModelStore, sought: Sought) -> Path:
    try:
        return store.find_file(name, kinds={sought.kind}).path
    except ModelError:  # several, or something else, which the reader of its header can tell better
        return store.find_file(name).path


def _file_at(path: Path, asked: str, sought: Sought) -> Path:
    if path.is_dir():
        inside = [path / f"{sought.file_of_folder}{suffix}" for suffix in WEIGHT_SUFFIXES]
        path = next((file for file in inside if file.is_file()), path)
    if path.is_dir():
        raise InputError(
            f"`{asked}` is a folder without `{sought.file_of_folder}`", hint=f"name the file of the {sought.called}"
        )
    if not path.exists():
        raise InputError(f"There is no {sought.called} `{asked}`", hint="check the path")
    return path
