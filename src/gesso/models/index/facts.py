"""What is known of one weight file without reading its weights: its header, what is said beside it, its old hash."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from gesso.core.errors import ModelError
from gesso.models.headers.base import WeightsHeader
from gesso.models.headers.read import read_weights_header
from gesso.models.index.sidecars import Said, read_sidecars
from gesso.models.index.walk import FoundFile
from gesso.models.recognition.facts import makers_facts
from gesso.models.recognition.kinds import Conclusion, Recognition
from gesso.models.recognition.recognise import recognise
from gesso.models.weights import DTYPE_NAMES

_BLOB = re.compile(r"[0-9a-f]{64}")
_OLD_HASH_OFFSET, _OLD_HASH_BYTES = 0x100000, 0x10000


class FileFacts(BaseModel):
    """What the index keeps of a file. `None` and empty where nothing is said."""

    model_config = ConfigDict(frozen=True)

    kind: str | None = None
    """A `Kind`; `None` of a file that cannot be used."""
    network: str | None = None
    families: tuple[str, ...] = ()
    variant: str | None = None
    task: str | None = None
    prediction: str | None = None
    algorithm: str | None = None
    dtype: str | None = None
    """That of most weights."""
    title: str | None = None
    author: str | None = None
    license: str | None = None
    description: str | None = None
    base: str | None = None
    trained_words: tuple[str, ...] = ()
    declared_sha256: str | None = None
    """As a sidecar, or the name that the hub's cache gives it, says."""
    old_hash: str | None = None
    """AUTOMATIC1111's of 2022: 8 digits, of 64 KiB in the middle."""
    guess: bool = False
    """Other files could look the same."""
    notes: tuple[str, ...] = ()
    problem: str | None = None
    """Why it cannot be used."""


class UnreadableFileError(Exception):
    """A file could not be opened now; another time it may."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def read_facts(found: FoundFile) -> FileFacts:
    """Read the header of a file, and its sidecars.

    Raises:
        UnreadableFileError: the system did not let it be read, or it is gone.
    """
    path = Path(found.path)
    said, notes = read_sidecars([sidecar for sidecar, _ in found.sidecars], path.name)
    try:
        header = read_weights_header(path)
        old_hash = _old_hash(path, found.status.st_size)
    except ModelError as error:
        if isinstance(error.__cause__, OSError) or not path.exists():
            raise UnreadableFileError(error.message) from error
        return FileFacts(problem=_clean(error.message), notes=_clean(tuple(notes)))
    except OSError as error:
        raise UnreadableFileError(f"`{path}` could not be read: {error.strerror}") from error
    return FileFacts(
        **_clean(_facts(header, said, notes)), declared_sha256=said.sha256 or _blob(path), old_hash=old_hash
    )


def _facts(header: WeightsHeader, said: Said, notes: list[str]) -> dict[str, Any]:
    recognition, makers = recognise(header), makers_facts(header.metadata)
    dtype = next(iter(header.values_by_dtype()), None)
    return {
        "kind": recognition.kind.value,
        "network": _value(recognition.network),
        "families": recognition.families,
        "variant": _value(recognition.variant),
        "task": _value(recognition.task),
        "prediction": _value(recognition.prediction),
        "algorithm": _value(recognition.algorithm),
        "dtype": DTYPE_NAMES.get(dtype, dtype) if dtype is not None else None,
        "title": makers.title or said.title,
        "author": makers.author or said.author,
        "license": makers.license or said.license,
        "description": makers.description or said.description,
        "base": makers.base or said.base,
        "trained_words": said.trained_words or makers.trained_words,  # a tag count is no list of triggers
        "guess": _guessed(recognition),
        "notes": (*recognition.notes, *notes),
    }


def _guessed(recognition: Recognition) -> bool:
    return recognition.kind.guess or (recognition.family is not None and recognition.family.guess)


def _value(conclusion: Conclusion | None) -> str | None:
    return conclusion.value if conclusion else None


def _clean(value: Any) -> Any:
    """Text of strangers as text that can be stored: JSON may hold halves of characters."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case tuple():
            return tuple(_clean(item) for item in value)
        case dict():
            return {name: _clean(item) for name, item in value.items()}
        case _:
            return value


def _blob(path: Path) -> str | None:
    """In the hub's cache a file is a link to a blob, which has the name of its sha256."""
    name = os.path.basename(os.path.realpath(path))
    return name if _BLOB.fullmatch(name) else None


def _old_hash(path: Path, size: int) -> str | None:
    if size <= _OLD_HASH_OFFSET:
        return None  # it would be that of nothing, for every small file
    with path.open("rb") as file:
        file.seek(_OLD_HASH_OFFSET)
        return hashlib.sha256(file.read(_OLD_HASH_BYTES)).hexdigest()[:8]
