"""The store: which models are on this machine, and where. It never downloads anything."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gesso.core import addresses
from gesso.core.errors import ModelError, NotHereError, UnknownNameError
from gesso.core.settings import Settings
from gesso.models.bases.registry import base_named, known_names
from gesso.models.folder import INDEX_FILE, ModelDescription, describe
from gesso.models.pulling.origin import fetched_files
from gesso.models.pulling.sources import could_be, endpoints_of, reference

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


FolderState = tuple[tuple[str, int, int, int], ...]
"""Name, inode, time of change and size of whatever lies in a model folder."""


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
        self._settings = settings
        self._folders = tuple(_at_home(folder) for folder in settings.model_folders)
        self._bundled = dict(bundled or {})
        self._hub_cache = hub_cache if hub_cache is not None else default_hub_cache()
        self._read: dict[tuple[Path, str | None], tuple[FolderState, ModelDescription]] = {}

    def list(self) -> Models:
        """Every model that can be described, in the order of search."""
        return self._described()[0]

    def broken(self) -> BrokenModels:
        """Folders that look like models and are not usable, with the reason."""
        return self._described()[1]

    def find(self, name: str) -> ModelDescription:
        """The model called `name`: one that `list` shows, a path to a folder, a hub id in the local cache, a known
        base that is here, or where something that was fetched is from.

        Raises:
            UnknownNameError: there is none; the nearest names are in the hint. `NotHereError` if it could be fetched.
            ModelError: there is one, and it is broken.
        """
        path = _at_home(name)
        if _looks_like_path(name):  # which no name does: nothing to search
            return self._describe(path, None)  # or raises, and says what is there instead
        places = self._bundled if name in self._bundled else self._places()
        if name in places:
            return self._describe(places[name], name)
        if name and os.path.lexists(path):
            return self._describe(path, None)
        base = base_named(name)
        for hub_id in base.hub_ids if base is not None else ():
            if hub_id in places:
                return self._describe(places[hub_id], hub_id)
        if (fetched := self._fetched(name)) is not None:
            return self._describe(fetched, None)
        raise self._unknown(name, [*places])

    def knows(self, name: str) -> bool:
        """Whether `name` is the name of a model, and not only a path."""
        return not _looks_like_path(name) and (name in self._bundled or name in self._places())

    def _describe(self, path: Path, name: str | None) -> ModelDescription:
        state = _state(path)  # from before: a change during the reading shows the next time
        known = self._read.get((path, name))
        if known is not None and known[0] == state:
            return known[1]
        description = describe(path, name=name)
        self._read[path, name] = state, description
        return description

    def _fetched(self, name: str) -> Path | None:
        """The single file that was fetched from where `name` says."""
        endpoints = endpoints_of(self._settings)
        source = could_be(name, endpoints)
        if source is None:
            return None
        wanted = reference(source, endpoints)
        files = (found for folder in self._folders for found in fetched_files(folder))
        return next((path for path, origin in files if origin.reference == wanted), None)

    def _unknown(self, name: str, known: Names) -> UnknownNameError:
        if could_be(name, endpoints_of(self._settings)) is not None:
            told = addresses.told(name) if "://" in name else name
            partly = name.count("/") == 1 and (self._hub_cache / _hub_folder(name)).is_dir()
            hint = "the hub cache holds no complete copy; " if partly else "nothing is downloaded by itself; "
            return NotHereError(name, told, known, hint=f"{hint}`gesso models pull {told}` fetches it")
        nearest = UnknownNameError("model", name, known).nearest
        fetched = [found for found in UnknownNameError("model", name, known_names()).nearest if found not in nearest]
        hints = [f"nearest: {', '.join(nearest)}"] if nearest else []
        hints += [f"`gesso models pull` could fetch {', '.join(fetched)}"] if fetched else []
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
