"""Every weight file in the model folders and the linked ones: what it is, how it is called, and how it is found.

The folders are listed each time, which costs milliseconds; a file that has not changed is not opened.
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from gesso import __version__
from gesso.core.errors import UnknownNameError
from gesso.models.identity import file_digest
from gesso.models.index.entry import IndexedFile, NamedFile, ScanReport
from gesso.models.index.facts import FileFacts, UnreadableFileError, read_facts
from gesso.models.index.finding import fits, fitting, has_hash, looks_like_hash, matches
from gesso.models.index.names import assigned
from gesso.models.index.walk import FoundFile, Walk
from gesso.models.places import Place
from gesso.models.recognition.kinds import Kind

if TYPE_CHECKING:
    from gesso.models.index.database import DigestRow, FactsRow, IndexDatabase

_READER = f"{__version__}.2"
"""What another version of Gesso concluded is concluded again. The last number is for changes between versions."""
_FILES_AT_ONCE = 200
"""Files whose facts are kept in one transaction: a scan that is interrupted goes on from there."""

Progress = Callable[[int], None]
"""Told how many bytes were read, piece by piece."""


class FileCatalogue:
    """The weight files in some places. Safe to use from many threads, and beside other processes.

    Args:
        places: where to look, in order; asked each time.
        taken: names that no file may have; asked each time.
        cache_folder: where the index is kept.
    """

    def __init__(
        self, places: Callable[[], Iterable[Place]], taken: Callable[[], Iterable[str]], cache_folder: Path
    ) -> None:
        self._places = places
        self._taken = taken
        self._cache_folder = cache_folder
        self._lock = threading.Lock()
        self._database: IndexDatabase | None = None

    def scan(self) -> ScanReport:
        """List every file, and read the headers of those that are new or changed."""
        begun = time.perf_counter()
        walk = Walk()
        named = self._named(walk)
        kept = self._index().facts()
        files = self._described(named, kept)
        seen = {os.fsencode(file.found.path): file for file in files}
        gone = [path for path in kept if path not in seen and not os.path.lexists(path)]
        self._index().forget_facts(gone)
        return ScanReport(
            files=tuple(files),
            new=len(seen.keys() - kept.keys()),
            read_again=sum(kept[path].stamp != _stamp(seen[path].found) for path in seen.keys() & kept.keys()),
            gone=len(gone),
            problems=tuple(walk.problems),
            seconds=time.perf_counter() - begun,
        )

    def names(self) -> list[str]:
        """Of every file; nothing is opened, not even the index."""
        return [file.name for file in self._named(Walk())]

    def find(self, name: str, *, kinds: Collection[Kind] | None = None) -> IndexedFile:
        """The file that is called so: by its name, its path below a model folder, its file name, or a hash.

        Only the headers of files that may be meant are read.

        Args:
            kinds: only of these.

        Raises:
            UnknownNameError: there is none.
            ModelError: there are several, or it is broken or none of `kinds`.
        """
        named = self._named(Walk())
        others: list[IndexedFile] = []
        for candidates in (*matches(name, named), self._with_hash(name, named)):
            files = self._described(candidates, self._kept(candidates))
            if any(fits(file, kinds) for file in files):
                return fitting(name, files, kinds)
            others += files
        if others:
            return fitting(name, others, kinds)  # raises
        raise UnknownNameError("file", name, [file.name for file in named], hint="`gesso models list` shows all files")

    def in_folders_for(self, kind: Kind) -> list[FoundFile]:
        """Files in folders that are named after a kind, whatever they are. No other folder is listed."""
        walk = Walk()
        folders = [folder for place in self._places() for folder in place.folders_for(kind)]
        return [found for folder in folders for found in walk.files(Place(root=folder, folder=folder))]

    def known(self, found: Iterable[FoundFile]) -> list[IndexedFile]:
        """What is known of those of the files that this catalogue has."""
        wanted = {file.identity for file in found}
        named = [file for file in self._named(Walk()) if file.found.identity in wanted]
        return self._described(named, self._kept(named))

    def at(self, path: Path) -> IndexedFile | None:
        """The file at `path`, wherever it lies; `None` if there is none."""
        found = Walk().single(path)
        if found is None:
            return None
        file = NamedFile(name=path.stem, found=found)
        return next(iter(self._described([file], self._kept([file]))), None)

    def digest(self, file: IndexedFile, progress: Progress | None = None) -> str:
        """The sha256, computed if it is not known, and kept. Raises `ModelError` if the file cannot be read."""
        if file.sha256 is None:
            digest = file_digest(file.path, progress)
            self.keep_digest(file, digest)
            return digest
        return file.sha256

    def keep_digest(self, file: IndexedFile, sha256: str) -> None:
        """Remember the digest of a file as it was when it was found: a change since then shows."""
        from gesso.models.index.database import DigestRow

        row = DigestRow(os.fsencode(file.found.path), file.found.content_stamp, sha256, file.said)
        self._index().keep_digests([row])

    def kept_digest(self, file: IndexedFile) -> "DigestRow | None":
        """What was kept last for the path of `file`, whatever happened to it since."""
        return self._index().digests().get(os.fsencode(file.found.path))

    def without_digest(self) -> int:
        """How many files have a hash that is not known."""
        digests = _Digests(self._index().digests())
        return sum(digests.of(file.found) is None for file in self._named(Walk()))

    def _index(self) -> "IndexDatabase":
        from gesso.models.index.database import IndexDatabase

        with self._lock:
            if self._database is None:
                self._database = IndexDatabase(self._cache_folder)
            return self._database

    def _named(self, walk: Walk) -> list[NamedFile]:
        """Every file once, in the order of search; what a link leads to under its own path, if that is found too."""
        paths: dict[tuple[int, int], list[FoundFile]] = {}
        for place in self._places():
            for found in walk.files(place):
                paths.setdefault(found.identity, []).append(found)
        chosen = [min(same, key=lambda found: found.is_link) for same in paths.values()]
        names = assigned(chosen, self._taken())
        return [
            NamedFile(name=name, found=found, others=tuple(other for other in same if other is not found))
            for name, found, same in zip(names, chosen, paths.values(), strict=True)
        ]

    def _kept(self, files: Sequence[NamedFile]) -> Mapping[bytes, "FactsRow"]:
        return self._index().facts([os.fsencode(file.found.path) for file in files]) if files else {}

    def _described(self, named: Sequence[NamedFile], kept: Mapping[bytes, "FactsRow"]) -> list[IndexedFile]:
        """What is known of files, or is read now; without those that went away in between."""
        from gesso.models.index.database import FactsRow

        if not named:
            return []
        digests = _Digests(self._index().digests())
        files: list[IndexedFile] = []
        fresh: list[FactsRow] = []
        for file in named:
            path, stamp = os.fsencode(file.found.path), _stamp(file.found)
            facts = _facts_in(kept.get(path), stamp)
            if facts is None:
                try:
                    facts = read_facts(file.found)
                    fresh.append(FactsRow(path, stamp, facts.model_dump_json()))
                except UnreadableFileError as error:
                    if not os.path.lexists(file.found.path):
                        continue
                    facts = FileFacts(problem=error.problem)  # not kept: rights change without a trace in the file
            sha256 = digests.of(file.found)
            known = IndexedFile(name=file.name, found=file.found, others=file.others, facts=facts, sha256=sha256)
            files.append(known)
            if len(fresh) >= _FILES_AT_ONCE:
                self._index().keep_facts(fresh)
                fresh = []
        self._index().keep_facts(fresh)
        return files

    def _with_hash(self, name: str, named: Sequence[NamedFile]) -> list[NamedFile]:
        """Files with that hash, of those whose hash is known. No file is opened for it."""
        if not looks_like_hash(name):
            return []
        kept, digests = self._index().facts(), _Digests(self._index().digests())
        found: list[NamedFile] = []
        for file in named:
            facts = _facts_in(kept.get(os.fsencode(file.found.path)), _stamp(file.found))
            if has_hash(name, sha256=digests.of(file.found), old_hash=facts.old_hash if facts else None):
                found.append(file)
        return found


class _Digests:
    """Digests by the content they were computed of; a file that was moved keeps its own."""

    def __init__(self, rows: Mapping[bytes, "DigestRow"]) -> None:
        self._rows = rows
        self._by_stamp = {row.stamp: row.sha256 for row in rows.values()}

    def of(self, found: FoundFile) -> str | None:
        row = self._rows.get(os.fsencode(found.path))
        if row is not None and row.stamp == found.content_stamp:
            return row.sha256
        return self._by_stamp.get(found.content_stamp)


def _stamp(found: FoundFile) -> str:
    return f"{_READER}|{found.stamp}"


def _facts_in(row: "FactsRow | None", stamp: str) -> FileFacts | None:
    """`None` if nothing is kept of the file as it is now."""
    if row is None or row.stamp != stamp:
        return None
    try:
        return FileFacts.model_validate_json(row.facts)
    except ValidationError:
        return None
