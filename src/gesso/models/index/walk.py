"""Finding weight files in folders, one listing for each folder and one status for each file; nothing is opened."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gesso.models.folder import INDEX_FILE
from gesso.models.places import KIND_FOLDERS, Place
from gesso.models.pulling.origin import FILE_SUFFIX
from gesso.models.weights import WEIGHT_SUFFIXES

SIDECAR_SUFFIXES = (".civitai.info", ".metadata.json", ".json", ".txt", ".sha256")
README = "README.md"
HUB_REPOSITORY = "models--"
_OF_NO_MODEL = (".", "datasets--", "spaces--")
_TELLS_INODES = os.name == "posix"
"""Whether a listing does; that of Windows says 0 for all."""
MAX_DEPTH = 12
"""Folders below a root. Deeper ones are told, not searched."""


class FoundFile(NamedTuple):
    """A weight file as the disk shows it."""

    path: str
    inside: str
    """Its path below the root, with `/`; of a repository in the hub's cache, `ORG/NAME/…`."""
    place: Place
    status: os.stat_result
    sidecars: tuple[tuple[str, os.stat_result], ...]
    """Files beside it that say something of it."""
    is_link: bool

    @property
    def identity(self) -> tuple[int, int]:
        """Equal for two paths to one file."""
        return self.status.st_dev, self.status.st_ino

    @property
    def stamp(self) -> str:
        """Changes when the file or what is said of it changes. The time of the inode's change nobody can set back."""
        beside = [f"{os.path.basename(path)!a}:{status.st_size}:{status.st_mtime_ns}" for path, status in self.sidecars]
        return "|".join((f"{self.content_stamp}:{self.status.st_ctime_ns}", *beside))

    @property
    def content_stamp(self) -> str:
        """Changes when the file does, for what is costly to find out again: survives `chmod` and renaming."""
        return f"{self.status.st_size}:{self.status.st_mtime_ns}:{self.status.st_ino}"


@dataclass(kw_only=True)
class Walk:
    """One pass over places; a folder that two paths lead to is entered once."""

    entered: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    problems: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])
    """Folders and links that could not be followed, and why."""

    def files(self, place: Place) -> Iterator[FoundFile]:
        """Weight files of `place`, sorted; those that only a link leads to come last."""
        return self._folder(str(place.root), "", place, MAX_DEPTH)

    def single(self, path: Path) -> FoundFile | None:
        """The file at `path`, wherever it lies and whatever its ending; `None` if there is none."""
        place = Place(root=path.parent, folder=path.parent)
        names = {entry.name: entry for entry in self._entries(str(path.parent))}
        entry = names.get(path.name)
        return next(self._file(entry, names, "", place), None) if entry is not None else None

    def _folder(self, folder: str, inside: str, place: Place, depth: int) -> Iterator[FoundFile]:
        entries = self._entries(folder)
        names = {entry.name: entry for entry in entries}
        folders: list[os.DirEntry[str]] = []
        for entry in entries:
            if is_folder(entry):
                folders.append(entry)
            elif entry.name.lower().endswith(WEIGHT_SUFFIXES) and not entry.name.startswith("."):
                yield from self._file(entry, names, inside, place)
        if INDEX_FILE in names:
            return  # the folders of a pipeline are its components
        for entry in folders:
            if depth == 0:
                self.problems.append((Path(entry.path), f"it lies more than {MAX_DEPTH} folders deep"))
            elif entry.name.startswith(HUB_REPOSITORY):
                if (snapshot := hub_snapshot(entry)) is not None:
                    yield from self._folder(snapshot[1], f"{inside}{snapshot[0]}/", place, depth - 1)
            else:
                yield from self._folder(entry.path, f"{inside}{entry.name}/", place, depth - 1)

    def _entries(self, folder: str) -> list["os.DirEntry[str]"]:
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in self.entered:
                return []
            self.entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as found:
                return sorted(found, key=lambda entry: (entry.is_symlink(), entry.name))
        except (FileNotFoundError, NotADirectoryError):  # never there, or gone since it was listed
            return []
        except (OSError, ValueError) as error:  # not ours to read, or no name at all
            self.problems.append((Path(folder), getattr(error, "strerror", None) or str(error)))
            return []

    def _file(
        self, entry: "os.DirEntry[str]", names: dict[str, "os.DirEntry[str]"], inside: str, place: Place
    ) -> Iterator[FoundFile]:
        try:
            status = entry.stat() if _TELLS_INODES else os.stat(entry.path)
        except FileNotFoundError:
            if entry.is_symlink() and os.path.lexists(entry.path):
                self.problems.append((Path(entry.path), "it is a link that leads nowhere"))
            return
        except OSError as error:
            self.problems.append((Path(entry.path), error.strerror or str(error)))
            return
        if stat.S_ISREG(status.st_mode):
            readme = bool(inside) and inside.rstrip("/").lower() not in KIND_FOLDERS
            beside = tuple(_sidecars(entry.name, names, readme=readme))
            yield FoundFile(entry.path, inside + entry.name, place, status, beside, entry.is_symlink())


def hub_snapshot(folder: "os.DirEntry[str]") -> tuple[str, str] | None:
    """Name and path of the revision that `main` names, where `folder` is a repository in the hub's cache.

    Layout: `models--ORG--NAME/snapshots/REVISION`, https://huggingface.co/docs/huggingface_hub/guides/manage-cache
    """
    try:
        with open(os.path.join(folder.path, "refs", "main"), encoding="utf-8") as file:
            revision = file.read(256).strip()
    except (OSError, UnicodeDecodeError):
        return None
    if not revision or "/" in revision or revision.startswith("."):
        return None
    name = "/".join(folder.name.removeprefix(HUB_REPOSITORY).split("--", maxsplit=1))
    return name, os.path.join(folder.path, "snapshots", revision)


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether to look for models in it: hidden folders hold none."""
    try:
        return not entry.name.startswith(_OF_NO_MODEL) and entry.is_dir()
    except OSError:  # a link to itself
        return False


def sidecar_names(name: str) -> tuple[str, ...]:
    """What files are called that say something of the weight file `name`: of the very file first, then of its stem."""
    stem = name.rpartition(".")[0]
    return f"{name}{FILE_SUFFIX}", *(f"{stem}{suffix}" for suffix in SIDECAR_SUFFIXES)


def _sidecars(name: str, names: dict[str, "os.DirEntry[str]"], *, readme: bool) -> Iterator[tuple[str, os.stat_result]]:
    """Files of the same name with another ending; and the README, but of a folder that holds files of every origin."""
    for sidecar in (*sidecar_names(name), *[README] * readme):
        if (entry := names.get(sidecar)) is not None:
            try:
                yield entry.path, entry.stat()
            except OSError:  # gone since it was listed
                continue
