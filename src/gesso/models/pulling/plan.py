"""What would be fetched: shown and agreed to before the first byte of it."""

from dataclasses import dataclass

from gesso.models.pulling.origin import Origin


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file at its source, and what the source says of it."""

    path: str
    """Where it goes: a safe path relative to the destination, or for a single file its safe name."""
    url: str
    size_bytes: int | None
    exact_size: bool = True
    """Whether `size_bytes` is to the byte."""
    sha256: str | None = None
    git_sha1: str | None = None
    """Of a small file, which the hub keeps in git: the id of its blob."""


@dataclass(frozen=True, kw_only=True)
class PullPlan:
    """A folder of a pipeline, or a single file."""

    name: str
    """Relative to the model folder: `ORG/NAME` of a pipeline, the name of a file."""
    folder: bool
    files: tuple[RemoteFile, ...]
    origin: Origin
    """As it will be kept beside the model."""
    notes: tuple[str, ...] = ()
    """What is left out and why."""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes or 0 for file in self.files)

    @property
    def size_known(self) -> bool:
        return all(file.size_bytes is not None for file in self.files)
