"""Where a model on this machine is from: a small file that stands in its folder, or beside it."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from gesso.core.requests import Value

FOLDER_FILE = "origin.json"
FILE_SUFFIX = ".origin.json"
"""Added to the whole name of a single file."""


class OriginFile(Value):
    """One file as it came."""

    path: str
    bytes: int
    sha256: str


class Origin(Value):
    """Kept with a model that was fetched. No secret is in it: addresses are kept without their queries."""

    version: int = 1
    reference: str
    """What `gesso models pull` was asked for, in one form."""
    url: str
    """The page of the model."""
    hub_id: str | None = None
    revision: str | None = None
    """Of the hub: the commit. Of CivitAI: the id of the version."""
    variant: str | None = None
    title: str | None = None
    licence: str | None = None
    licence_url: str | None = None
    gated: bool = False
    base_model: str | None = None
    """Of an adapter, in the words of its source."""
    trained_words: tuple[str, ...] = ()
    pulled: str | None = None
    """UTC."""
    files: tuple[OriginFile, ...] = ()


def origin_path(model: Path, *, folder: bool) -> Path:
    """Where the origin of `model` stands."""
    return model / FOLDER_FILE if folder else model.with_name(model.name + FILE_SUFFIX)


def origin_of(model: Path) -> Origin | None:
    """The origin of a model's folder or file; `None` if it has none that can be read."""
    return _read(origin_path(model, folder=model.is_dir()))


def fetched_files(folder: Path) -> Iterator[tuple[Path, Origin]]:
    """Single files in `folder` that have an origin, and it."""
    for path in sorted(folder.glob(f"*{FILE_SUFFIX}")):
        model = path.with_name(path.name.removesuffix(FILE_SUFFIX))
        origin = _read(path)
        if origin is not None and model.is_file():
            yield model, origin


def _read(path: Path) -> Origin | None:
    try:
        return Origin.model_validate_json(path.read_bytes())
    except (OSError, ValidationError, ValueError):  # anybody may have written it: no origin is no error
        return None
