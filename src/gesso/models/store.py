"""The store: which models are on this machine, and where. It never downloads anything."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from gesso.core.errors import ModelError, UnknownNameError
from gesso.core.settings import Settings
from gesso.models.folder import INDEX_FILE, ModelDescription, describe
from gesso.models.single_files.assemble import Parts, describe_file, describe_with_parts

MAX_DEPTH = 3
"""Folders below a model folder in which models are looked for: `author/model/version`."""


Names = list[str]
Models = list[ModelDescription]  # inside the store, `list` is a method


class BrokenModel(NamedTuple):
    """A folder that should hold a model and does not."""

    name: str
    path: Path
    reason: str


BrokenModels = list[BrokenModel]
NO_PARTS: Parts = MappingProxyType({})


FolderState = tuple[tuple[str, int, int, int], ...]
"""Name, inode, time of change and size of whatever lies in a model folder."""


Key = tuple[Path, str | None, tuple[tuple[str, str], ...]]
"""Where a model is, its name, and the parts that come from elsewhere."""


class ModelStore:
    """Finds models by name. Safe to use from many threads.

    The disk is asked every time; a folder that has not changed since is not read again.

    Args:
        settings: `model_folders` are searched, in order.
        bundled: models that come with the package, by name; they win over folders of the same name.
        hub_cache: the local cache of the Hugging Face hub; by default where its own tools keep it.
    """

    def __init__(
        self, settings: Settings, bundled: Mapping[str, Path] | None = None, *, hub_cache: Path | None = None
    ) -> None:
        self._folders = tuple(_at_home(folder) for folder in settings.model_folders)
        self._bundled = dict(bundled or {})
        self._hub_cache = hub_cache if hub_cache is not None else default_hub_cache()
        self._cache_folder = settings.cache_folder
        self._read: dict[Key, tuple[FolderState, ModelDescription]] = {}

    def list(self) -> Models:
        """Every model that can be described, in the order of search."""
        return self._described()[0]

    def broken(self) -> BrokenModels:
        """Folders that look like models and are not usable, with the reason."""
        return self._described()[1]

    def find(self, name: str, parts: Parts = NO_PARTS) -> ModelDescription:
        """The model called `name`: one that `list` shows, a folder, a single file, or a hub id in the local cache.

        Args:
            parts: networks and vocabularies that come from elsewhere: part of the pipeline → file or folder.

        Raises:
            UnknownNameError: there is none; the nearest names are in the hint.
            ModelError: there is one, and it is broken.
        """
        path = _at_home(name)
        if _looks_like_path(name):  # which no name does: nothing to search
            return self._describe(path, None, parts)  # or raises, and says what is there instead
        places = self._bundled if name in self._bundled else self._places()
        if name in places:
            return self._describe(places[name], name, parts)
        if name and os.path.lexists(path):
            return self._describe(path, None, parts)
        raise self._unknown(name, [*places])

    def knows(self, name: str) -> bool:
        """Whether `name` is the name of a model, and not only a path."""
        return not _looks_like_path(name) and (name in self._bundled or name in self._places())

    def _describe(self, path: Path, name: str | None, parts: Parts = NO_PARTS) -> ModelDescription:
        key = (path, name, tuple(sorted(parts.items())))
        places = (path, *(_at_home(place) for place in parts.values()))
        state = tuple(
            entry for place in places for entry in _state(place)
        )  # from before: a change during the reading shows the next time
        known = self._read.get(key)
        if known is not None and known[0] == state:
            return known[1]
        if os.path.isfile(path):  # false also for what is no name of a file
            description = describe_file(path, cache_folder=self._cache_folder, parts=parts, name=name)
        else:
            description = describe(path, name=name)
            if parts:
                description = describe_with_parts(description, parts, cache_folder=self._cache_folder)
        self._read[key] = state, description
        return description

    def _unknown(self, name: str, known: Names) -> UnknownNameError:
        nearest = UnknownNameError("model", name, known).nearest
        hints = [f"nearest: {', '.join(nearest)}"] if nearest else []
        if name.count("/") == 1 and (self._hub_cache / _hub_folder(name)).is_dir():
            hints.append(f"the hub cache holds no complete copy: `hf download {name}` fetches it")
        elif name.count("/") == 1:
            hints.append(f"Gesso never downloads by itself: `hf download {name}` fetches it")
        hints.append("give the path of a folder, or put it into a model folder; `gesso models list` shows all")
        return UnknownNameError("model", name, known, hint="; ".join(hints))

    def _described(self) -> tuple[Models, BrokenModels]:
        whole: Models = []
        broken: BrokenModels = []
        for name, path in self._places().items():
            try:
                whole.append(self._describe(path, name))
            except ModelError as error:
                broken.append(BrokenModel(name, path, error.message))
        return whole, broken

    def _places(self) -> dict[str, Path]:
        """Every name and the folder it stands for; the first place that has a name keeps it."""
        places = dict(self._bundled)
        for folder in self._folders:
            for path in sorted(_model_folders(folder, MAX_DEPTH)):
                name = folder.resolve().name if path == folder else path.relative_to(folder).as_posix()
                places.setdefault(name, path)
        for name, path in _cached_models(self._hub_cache):
            places.setdefault(name, path)
        return places


def default_hub_cache() -> Path:
    """Where Hugging Face's tools keep what they downloaded (`HF_HUB_CACHE`, else under `HF_HOME`)."""
    if cache := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(home).expanduser() / "hub"


def _at_home(path: str | Path) -> Path:
    """`~` in full; left alone, and so not found, where nobody has that name."""
    return Path(os.path.expanduser(path))


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or Path(name).is_absolute()


def _model_folders(folder: Path, depth: int) -> Iterator[Path]:
    if os.path.isfile(folder / INDEX_FILE):  # false also for a folder that is not ours to read
        yield folder
        return  # the folders inside are its components
    if depth == 0:
        return
    try:
        inside = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except (OSError, ValueError):  # not there, not ours to read, or no name at all: there are no models in it for us
        return
    for path in inside:
        yield from _model_folders(path, depth - 1)


def _state(folder: Path) -> FolderState:
    """Changes whenever a file of the model is written, replaced, added or removed. Costs no reading.

    The time is that of the inode's change, which nobody can set back.
    """
    return tuple(sorted(_entries(str(folder), depth=1)))


def _entries(folder: str, *, depth: int) -> Iterator[tuple[str, int, int, int]]:
    try:
        with os.scandir(folder) as inside:
            for entry in inside:
                status = os.stat(entry.path)  # of what a link points to, as in the hub's cache
                yield entry.path, status.st_ino, status.st_ctime_ns, status.st_size
                if depth and entry.is_dir():
                    yield from _entries(entry.path, depth=depth - 1)
    except NotADirectoryError:
        status = os.stat(folder)
        yield folder, status.st_ino, status.st_ctime_ns, status.st_size
    except OSError:  # `describe` says what is wrong with it
        yield folder, 0, 0, 0


def _hub_folder(repo: str) -> str:
    return "models--" + repo.replace("/", "--")


def _cached_models(cache: Path) -> Iterator[tuple[str, Path]]:
    """Pipelines in the hub's cache: `models--ORG--NAME/snapshots/REVISION`, the revision that `refs/main` names.

    Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
    """
    for repo in sorted(cache.glob("models--*")):
        name = "/".join(repo.name.removeprefix("models--").split("--", maxsplit=1))
        try:
            revision = (repo / "refs" / "main").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
        snapshot = repo / "snapshots" / revision
        if (snapshot / INDEX_FILE).is_file():
            yield name, snapshot
