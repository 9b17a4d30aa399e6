"""Which weights these are: one digest for a model folder, computed once and remembered."""

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from gesso.core.errors import ModelError, StorageError
from gesso.core.files import write_atomically
from gesso.models.folder import INDEX_FILE, ModelDescription

logger = logging.getLogger(__name__)

PENDING = "pending"
CACHE_FILE = "identities.json"
INLINE_BYTES = 64 * 2**20
"""Fewer bytes than this are read at once: a thread would take longer to explain than they take to hash."""
_CHUNK_BYTES = 2**20
_NOT_CONTENT = frozenset({".md", ".png", ".jpg", ".jpeg", ".gif", ".webp"})


def content_files(description: ModelDescription) -> list[tuple[str, Path]]:
    """The files that decide what the model computes, by path relative to its folder, sorted.

    A file that lies elsewhere is named by the part that takes it.

    Of a network its config and the weights that would be loaded; of any other part all files; the index; and the
    Python files, if it runs any.
    """
    root = description.config_folder
    found = {INDEX_FILE: root / INDEX_FILE}
    for component in description.components.values():
        if component.weights is None:
            paths = [path for path in component.folder.rglob("*") if path.is_file()]
        else:
            paths = [component.folder / "config.json", *component.weights.files]
            paths += [component.weights.index] if component.weights.index else []
        found.update({_relative(path, root, component.name): path for path in paths})
    if description.custom_code:
        found.update({path.relative_to(root).as_posix(): path for path in root.rglob("*.py")})
    return sorted((name, path) for name, path in found.items() if path.suffix.lower() not in _NOT_CONTENT)


def _relative(path: Path, root: Path, part: str) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else f"{part}/{path.name}"


class Identities:
    """Digests of model folders. Safe to use from many threads and, since the cache is replaced whole, processes.

    Args:
        cache_folder: where digests of single files are kept, by path, modification time and size.
    """

    def __init__(self, cache_folder: Path) -> None:
        self._file = cache_folder / CACHE_FILE
        self._lock = threading.Lock()
        self._known: dict[str, list[Any]] | None = None
        self._running: set[Path] = set()

    def digest(self, description: ModelDescription) -> str:
        """`sha256:…` over the sorted (relative path, sha256) of the files that decide what the model computes.

        Reads every file that changed since it was last read: minutes for a large model, milliseconds afterwards.

        Raises:
            ModelError: a file could not be read.
        """
        files = content_files(description)
        fresh: dict[str, list[Any]] = {}
        total = hashlib.sha256()
        for name, path in files:
            digest = self._digest_of(path, fresh)
            total.update(f"{name}\0{digest}\n".encode())
        if fresh:
            self._remember(fresh)
        return f"sha256:{total.hexdigest()}"

    def known(self, description: ModelDescription) -> str | None:
        """The digest, if every file of it is remembered as it is now; nothing is read."""
        total = hashlib.sha256()
        for name, path in content_files(description):
            digest = self._remembered(path, _stamp(path))
            if digest is None:
                return None
            total.update(f"{name}\0{digest}\n".encode())
        return f"sha256:{total.hexdigest()}"

    def file_digest(self, path: Path) -> str:
        """The sha256 of one file, in hexadecimal. Read once as long as it does not change.

        Raises:
            ModelError: it could not be read.
        """
        fresh: dict[str, list[Any]] = {}
        digest = self._digest_of(path, fresh)
        if fresh:
            self._remember(fresh)
        return digest

    def _digest_of(self, path: Path, fresh: dict[str, list[Any]]) -> str:
        """The sha256 of a file; `fresh` gets what had to be computed."""
        stamp = _stamp(path)
        digest = self._remembered(path, stamp)
        if digest is None:
            digest = file_digest(path)
            fresh[str(path.resolve())] = [*stamp, digest]  # the stamp from before: a later change shows
        return digest

    def soon(self, description: ModelDescription) -> str | None:
        """The digest if it is known or computed in no time; else `None`. Raises as `digest` does."""
        unknown = 0
        for _, path in content_files(description):
            stamp = _stamp(path)
            unknown += stamp[1] if self._remembered(path, stamp) is None else 0
        return self.digest(description) if unknown < INLINE_BYTES else None

    def digest_or_pending(self, description: ModelDescription) -> str:
        """The digest if it is known or soon computed; else `pending`, and a background thread sees to it."""
        if (found := self.soon(description)) is not None:
            return found
        with self._lock:
            if description.path not in self._running:
                self._running.add(description.path)
                name = f"gesso-identity-{description.name}"
                threading.Thread(target=self._run, args=(description,), name=name, daemon=True).start()
        return PENDING

    def _run(self, description: ModelDescription) -> None:
        try:
            self.digest(description)
        except ModelError as error:  # whoever asks next asks again, and gets the error if it stays
            logger.warning("%s", error)
        finally:
            with self._lock:
                self._running.discard(description.path)

    def _remembered(self, path: Path, stamp: tuple[int, int]) -> str | None:
        with self._lock:
            if self._known is None:
                self._known = _read_cache(self._file)
            entry = self._known.get(str(path.resolve()))
        return entry[2] if entry is not None and tuple(entry[:2]) == stamp else None

    def _remember(self, fresh: dict[str, list[Any]]) -> None:
        with self._lock:
            known = {**_read_cache(self._file), **(self._known or {}), **fresh}  # another process may have written
            self._known = known
            try:
                write_atomically(self._file, json.dumps(known, indent=0).encode())
            except StorageError as error:  # the digest is right all the same; only the next process computes it anew
                logger.warning("Digests of weights are not kept: %s", error)


def stamp(description: ModelDescription) -> str:
    """Changes whenever a file of the model is replaced; costs no reading."""
    stamps = [(str(path), *_stamp(path)) for _, path in content_files(description)]
    return hashlib.blake2b(repr(stamps).encode(), digest_size=8).hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"`{path}` could not be read: {error.strerror or error}") from error
    return status.st_mtime_ns, status.st_size


def file_digest(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """The sha256 of a file.

    Args:
        progress: told how many bytes were read, piece by piece.

    Raises:
        ModelError: it could not be read.
    """
    digest = hashlib.sha256()
    try:
        for chunk in _chunks(path):
            digest.update(chunk)
            if progress is not None:
                progress(len(chunk))
    except OSError as error:
        raise ModelError(f"`{path}` could not be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _read_cache(file: Path) -> dict[str, list[Any]]:
    """What was remembered; nothing if the file is missing or not ours."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    entries = cast(dict[str, Any], content)
    return {name: entry for name, entry in entries.items() if _is_entry(entry)}


def _is_entry(entry: Any) -> bool:
    match entry:
        case [int(), int(), str()]:
            return True
        case _:
            return False
