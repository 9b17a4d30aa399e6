"""One file comes over: from where it stopped the last time, checked, and complete before it gets its name."""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gesso.core import addresses
from gesso.core.errors import NetworkError, SourceError
from gesso.core.files import reporting_storage
from gesso.models.pulling.patience import Patience, TransientError
from gesso.models.pulling.plan import RemoteFile
from gesso.models.pulling.remote import Remote, transient

if TYPE_CHECKING:
    import httpx2

PART = ".part"
_VALIDATOR = ".etag"
_CHUNK_BYTES = 2**20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_WHOLE = re.compile(r"bytes \*/(\d+)")

Advance = Callable[[int], None]
"""Told of bytes as they come; of fewer than nothing when some must come again."""


@dataclass(kw_only=True)
class Transfer:
    """A file on its way to `target`. What has come lies beside it under a name that nobody takes for the file."""

    file: RemoteFile
    target: Path
    remote: Remote
    advance: Advance
    part: Path = field(init=False)
    validator: Path = field(init=False)
    received: int = field(default=0, init=False)
    """Bytes that came over the wire in this run."""
    total: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.part = self.target.with_name(self.target.name + PART)
        self.validator = self.part.with_name(self.part.name + _VALIDATOR)

    def run(self, patience: Patience) -> str:
        """Fetch the file, check it, give it its name, and return its sha256.

        Raises:
            SourceError: it is not there, not for us, or not as large as its source says.
            NetworkError: it could not be fetched, or is not what its source says it is. What came is kept in the first
                case, and removed in the second.
            StorageError: no room, no right.
        """
        with reporting_storage(self.target, option="--into"):
            self.target.parent.mkdir(parents=True, exist_ok=True)
        resumed = self._size() > 0
        self.advance(self._size())
        for last in (not resumed, True):
            patience.persist(self._receive, progress=lambda: self.received)
            sha256, git_sha1 = self._digests()
            wrong = self._wrong(sha256, git_sha1)
            if wrong is None:
                with reporting_storage(self.target, option="--into"):
                    os.replace(self.part, self.target)
                    self.validator.unlink(missing_ok=True)
                return sha256
            self._begin_anew()
            if last:
                raise NetworkError(wrong, hint="what came was removed; the same command fetches it again")
        raise AssertionError("the last round returns or raises")

    def _size(self) -> int:
        try:
            return self.part.stat().st_size
        except OSError:
            return 0

    def _receive(self) -> None:
        have = self._size()
        declared = self.file.size_bytes if self.file.exact_size else None
        if have and declared is not None and have == declared:
            return  # all of it came the last time; whether it is right is seen next
        headers = self._continuing(have)
        if have and not headers:
            self._begin_anew()
            have = 0
        with self.remote.get(self.file.url, headers) as response:
            if response.status_code == 416:  # nothing is left of it, or it became shorter
                whole = _WHOLE.fullmatch(response.headers.get("content-range", ""))
                if whole is not None and int(whole[1]) == have:
                    return
                self._begin_anew()
                raise TransientError(f"`{self._told()}` is shorter than it was", wait_seconds=0)
            at, self.total = self._place(response, have)
            if at != have:
                self._begin_anew()
            self._check_size(self.total)
            if at == 0:
                self._remember(response.headers.get("etag"))
            with reporting_storage(self.part, option="--into"), self.part.open("ab") as file, transient(self.file.url):
                self._write(response, file, at)
                file.flush()
                os.fsync(file.fileno())

    def _continuing(self, have: int) -> dict[str, str]:
        """Headers that ask for the rest alone; none where nobody could tell whether it is the rest of the same."""
        if not have:
            return {}
        etag = self.validator.read_text("ascii", errors="replace") if self.validator.is_file() else ""
        if not etag and not (self.file.sha256 or self.file.git_sha1):
            return {}
        return {"Range": f"bytes={have}-", **({"If-Range": etag} if etag else {})}

    def _place(self, response: "httpx2.Response", have: int) -> tuple[int, int | None]:
        """Where the answer begins in the file, and how long the file is."""
        if response.status_code == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            if match is None or int(match[1]) != have:
                raise TransientError(f"`{self._told()}` answers with another part of the file than was asked for")
            return have, int(match[2]) if match[2] != "*" else None
        length = response.headers.get("content-length", "")
        return 0, int(length) if length.isdecimal() else None

    def _check_size(self, total: int | None) -> None:
        declared = self.file.size_bytes
        if total is not None and self.file.exact_size and declared is not None and total != declared:
            raise SourceError(f"`{self._told()}` has {total:,} bytes, and {declared:,} were promised")

    def _write(self, response: "httpx2.Response", file: BinaryIO, at: int) -> None:
        most = self.total if self.total is not None else self.file.size_bytes if self.file.exact_size else None
        for (
            chunk
        ) in response.iter_raw():  # as they come: what a larger piece waits for would be lost with the connection
            at += len(chunk)
            if most is not None and at > most:
                raise SourceError(f"`{self._told()}` sends more than the {most:,} bytes that it promised")
            file.write(chunk)
            self.received += len(chunk)
            self.advance(len(chunk))
        if most is not None and at < most:
            raise TransientError(f"`{self._told()}` broke off the connection")

    def _remember(self, etag: str | None) -> None:
        """The state that what comes belongs to. A weak one (`W/`) does not tell bytes apart."""
        with reporting_storage(self.part, option="--into"):
            if etag and not etag.startswith("W/") and etag.isascii():
                self.validator.write_text(etag, "ascii")
            else:
                self.validator.unlink(missing_ok=True)

    def _begin_anew(self) -> None:
        have = self._size()
        with reporting_storage(self.part, option="--into"):
            self.part.unlink(missing_ok=True)
            self.validator.unlink(missing_ok=True)
        self.advance(-have)

    def _digests(self) -> tuple[str, str]:
        sha256 = hashlib.sha256()
        git = hashlib.sha1(f"blob {self._size()}\0".encode(), usedforsecurity=False)  # as git names its blobs
        with reporting_storage(self.part, option="--into"), self.part.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                sha256.update(chunk)
                if self.file.git_sha1:
                    git.update(chunk)
        return sha256.hexdigest(), git.hexdigest()

    def _wrong(self, sha256: str, git_sha1: str) -> str | None:
        for kind, expected, found in (
            ("sha256", self.file.sha256, sha256),
            ("git id", self.file.git_sha1, git_sha1),
        ):
            if expected is not None and expected.lower() != found:
                return (
                    f"`{self.file.path}` is not what its source says: its {kind} is {found[:16]}…, "
                    f"{expected[:16].lower()}… was promised"
                )
        return None

    def _told(self) -> str:
        return addresses.told(self.file.url)
