"""A weight file with what is known of it, and what a scan found."""

from dataclasses import dataclass
from pathlib import Path

from gesso.models.index.facts import FileFacts
from gesso.models.index.walk import FoundFile
from gesso.models.recognition.kinds import Kind

SHORT_HASH_DIGITS = 10
"""Of the sha256, as AUTOMATIC1111 and CivitAI write it."""


@dataclass(frozen=True, kw_only=True)
class NamedFile:
    """A weight file that has not been asked anything."""

    name: str
    found: FoundFile
    others: tuple[FoundFile, ...] = ()
    """The same file, as other paths lead to it."""

    @property
    def path(self) -> Path:
        return Path(self.found.path)

    @property
    def also(self) -> tuple[Path, ...]:
        """Other paths to it."""
        return tuple(Path(other.path) for other in self.others)

    @property
    def size_bytes(self) -> int:
        return self.found.status.st_size


@dataclass(frozen=True, kw_only=True)
class IndexedFile(NamedFile):
    """A weight file and what is known of it."""

    facts: FileFacts
    sha256: str | None
    """`None` until it is computed, and again when the file has changed."""

    @property
    def short_hash(self) -> str | None:
        return self.sha256[:SHORT_HASH_DIGITS] if self.sha256 else None

    @property
    def family(self) -> str:
        """The families that it is of or fits, as text."""
        return " or ".join(self.facts.families)

    @property
    def said(self) -> str:
        """What its header says, in short."""
        return ", ".join(word for word in (self.facts.kind, self.family, self.facts.dtype) if word)

    @property
    def misplaced(self) -> str | None:
        """What its header says against the folder in which it lies. A guess is not held against a file."""
        expected = self.found.place.expected(self.found.inside)
        kind = self.facts.kind
        if expected is None or kind is None or self.facts.guess or kind == Kind.UNKNOWN or kind in expected[1]:
            return None
        return f"it lies in `{expected[0]}`, and its header says {kind}"


@dataclass(frozen=True, kw_only=True)
class ScanReport:
    """What a scan found, and what is different from the last one."""

    files: tuple[IndexedFile, ...]
    new: int
    read_again: int
    """Known before, and changed since; or known to an older version of Gesso."""
    gone: int
    problems: tuple[tuple[Path, str], ...]
    """Folders and links that could not be followed, and why."""
    seconds: float
