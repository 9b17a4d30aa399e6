"""Adapters by name: files in the model folders, in whatever folder of theirs, or a path."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gesso.core.errors import InputError, UnknownNameError

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Of files that may be adapters, the better first."""
DIFFUSERS_NAME = "pytorch_lora_weights"
"""What diffusers calls the file in a folder of an adapter: its name is then the folder's."""
MAX_DEPTH = 4
"""Folders below a model folder in which adapters are looked for."""


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


def find_adapter(name: str, folders: Sequence[Path]) -> AdapterPlace:
    """The adapter called `name`: a file's name without its ending, with or without folders before it; or a path.

    Raises:
        UnknownNameError: there is none; the nearest names are in the hint.
        InputError: several files have that name.
    """
    path = Path(os.path.expanduser(name))
    if _looks_like_path(name) or path.is_file():
        return AdapterPlace(name=str(path.resolve()), path=_file_at(path, name))
    wanted = name.casefold()
    candidates = [(folder, file) for folder in folders for file in _files(Path(os.path.expanduser(folder)), MAX_DEPTH)]
    found: dict[str, Path] = {}
    for folder, file in candidates:
        if wanted in {spelling.casefold() for spelling in _spellings(file, Path(os.path.expanduser(folder)))}:
            found.setdefault(_relative(file, Path(os.path.expanduser(folder))), file)
    if not found:
        hint = "give the path of a file, or put it into a model folder"
        nearest = UnknownNameError("adapter", name, [_name_of(file) for _, file in candidates]).nearest
        raise UnknownNameError("adapter", name, [], hint=f"nearest: {', '.join(nearest)}; {hint}" if nearest else hint)
    first, *others = sorted(found, key=lambda spelling: (spelling.casefold() != wanted, spelling))
    if others and first.casefold() != wanted:
        raise InputError(
            f"Several files are called `{name}`: {', '.join([first, *others][:4])}",
            hint="write the folders before the name too",
        )
    return AdapterPlace(name=name, path=found[first])


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or Path(name).is_absolute() or name.endswith(SUFFIXES)


def _file_at(path: Path, asked: str) -> Path:
    if path.is_dir():
        inside = [path / f"{DIFFUSERS_NAME}{suffix}" for suffix in SUFFIXES]
        path = next((file for file in inside if file.is_file()), path)
    if path.is_dir():
        raise InputError(f"`{asked}` is a folder without `{DIFFUSERS_NAME}`", hint="name the file of the adapter")
    if not path.exists():
        raise InputError(f"There is no adapter `{asked}`", hint="check the path")
    return path


def _files(folder: Path, depth: int) -> Iterator[Path]:
    """Files that may be adapters, in order; folders of whole models are left out."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:  # not there, or not ours to read: there is nothing in it for us
        return
    for suffix in SUFFIXES:
        yield from (path for path in inside if path.suffix == suffix and path.is_file())
    if depth == 0:
        return
    for path in inside:
        if path.is_dir() and not path.name.startswith(".") and not (path / "model_index.json").is_file():
            yield from _files(path, depth - 1)


def _spellings(file: Path, folder: Path) -> set[str]:
    relative = _relative(file, folder)
    return {relative, _name_of(file), file.name}


def _relative(file: Path, folder: Path) -> str:
    """`people/anna` of `people/anna.safetensors`, also of `people/anna/pytorch_lora_weights.safetensors`."""
    whole = file.parent if file.stem == DIFFUSERS_NAME and file.parent != folder else file.with_suffix("")
    return whole.relative_to(folder).as_posix()


def _name_of(file: Path) -> str:
    return file.parent.name if file.stem == DIFFUSERS_NAME else file.stem
