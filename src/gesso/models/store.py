"""The store: which models are on this machine, and where. It never downloads anything."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from gesso.core import addresses
from gesso.core.errors import ModelError, NotHereError, UnknownNameError
from gesso.core.settings import Settings
from gesso.models.bases.registry import base_named, known_names
from gesso.models.folder import INDEX_FILE, ModelDescription, describe
from gesso.models.identity import Identities
from gesso.models.index.catalogue import FileCatalogue
from gesso.models.index.entry import IndexedFile, ScanReport
from gesso.models.index.finding import fitting, looks_like_hash
from gesso.models.index.walk import HUB_REPOSITORY, hub_snapshot, is_folder
from gesso.models.places import LinkedFolder, Place, recognise_link
from gesso.models.pulling.origin import fetched_files
from gesso.models.pulling.sources import could_be, endpoints_of, reference
from gesso.models.recognition.kinds import Kind
from gesso.models.single_files.assemble import Parts, describe_file, describe_with_parts

MAX_DEPTH = 3
"""Folders below a model folder in which models are looked for: `author/model/version`."""


PAINTERS = (Kind.CHECKPOINT, Kind.DENOISER)
"""Kinds of files that can be asked for pictures."""

Names = list[str]
Models = list[ModelDescription]  # inside the store, `list` is a method
Files = list[IndexedFile]
Links = list[LinkedFolder]


class BrokenModel(NamedTuple):
    """A folder that should hold a model and does not."""

    name: str
    path: Path
    reason: str


BrokenModels = list[BrokenModel]
BrokenLinks = list[tuple[Path, ModelError]]
NO_PARTS: Parts = MappingProxyType({})


FolderState = tuple[tuple[str, int, int, int], ...]
"""Name, inode, time of change and size of whatever lies in a model folder."""


Key = tuple[Path, str | None, tuple[tuple[str, str], ...]]
"""Where a model is, its name, and the parts that come from elsewhere."""


class ModelStore:
    """Finds models by name. Safe to use from many threads.

    The disk is asked every time; a folder that has not changed since is not read again.

    Args:
        settings: `model_folders` and then `linked_folders` are searched, in order; what is known of weight files is
            kept in `cache_folder`.
        bundled: models that come with the package, by name; they win over folders of the same name.
        hub_cache: the local cache of the Hugging Face hub; by default where its own tools keep it.
    """

    def __init__(
        self, settings: Settings, bundled: Mapping[str, Path] | None = None, *, hub_cache: Path | None = None
    ) -> None:
        self._settings = settings
        self.folders = tuple(_at_home(folder) for folder in settings.model_folders)
        self._linked = tuple(_at_home(folder) for folder in settings.linked_folders)
        self._bundled = dict(bundled or {})
        self._hub_cache = hub_cache if hub_cache is not None else default_hub_cache()
        self._read: dict[Key, tuple[FolderState, ModelDescription]] = {}
        self.catalogue = FileCatalogue(self._file_places, self._places, settings.cache_folder)
        self.identities = Identities(settings.cache_folder)

    def list(self) -> Models:
        """Every model that can be described, in the order of search."""
        return self._described()[0]

    def broken(self) -> BrokenModels:
        """Folders that look like models and are not usable, with the reason."""
        return self._described()[1]

    def find(self, name: str, parts: Parts = NO_PARTS) -> ModelDescription:
        """The model called `name`: one that `list` shows, a path to a folder or a single file, a hub id in the local
        cache, a known base that is here, where something fetched is from, or a weight file by its name or hash.

        Args:
            parts: networks and vocabularies that come from elsewhere: part of the pipeline → file or folder.

        Raises:
            UnknownNameError: there is none; the nearest names are in the hint. `NotHereError` if it could be fetched.
            ModelError: there is one, and it is broken.
        """
        path = _at_home(name)
        if looks_like_path(name):  # which no name does: nothing to search
            return self._describe(path, None, parts)  # or raises, and says what is there instead
        places = self._bundled if name in self._bundled else self._places()
        if name in places:
            return self._describe(places[name], name, parts)
        if name and os.path.lexists(path):
            return self._describe(path, None, parts)
        base = base_named(name)
        for hub_id in base.hub_ids if base is not None else ():
            if hub_id in places:
                return self._describe(places[hub_id], hub_id, parts)
        if (fetched := self._fetched(name)) is not None:
            return self._describe(fetched, None, parts)
        return self._describe(self._model_file(name, [*places]).path, name, parts)

    def files(self, *, kinds: Collection[Kind] | None = None) -> Files:
        """Every weight file in the model folders, the linked ones and the hub's cache, or those of some kinds.

        Broken ones are of no kind: without `kinds` they are there, with the problem among their facts.
        """
        return [file for file in self.scan().files if kinds is None or file.facts.kind in kinds]

    def files_named(self, kind: Kind, named: Callable[[str], bool]) -> Files:
        """Files for whose path `named` says so, in folders that are named after a kind; what they are is known by then.

        Where there is no such folder, or none of its files is meant, nothing else is listed.
        """
        meant = [found for found in self.catalogue.in_folders_for(kind) if named(found.path)]
        return self.catalogue.known(meant) if meant else []

    def find_file(self, name: str, *, kinds: Collection[Kind] | None = None) -> IndexedFile:
        """The weight file called `name`: a name or spelling of one that `files` has, its hash, or a path.

        Args:
            kinds: only of these; more than one file of another kind may have the name.

        Raises:
            UnknownNameError: there is none; the nearest names are in the hint.
            ModelError: there are several, or it is broken or of another kind.
        """
        path = _at_home(name)
        if looks_like_path(name) or (name and os.path.isfile(path)):
            return self._file_at(path, name, kinds)
        try:
            return self.catalogue.find(name, kinds=kinds)
        except UnknownNameError as error:
            raise self._unknown(name, self.catalogue.names(), kind="file") from error

    def find_any(self, name: str) -> ModelDescription | IndexedFile:
        """The model or else the weight file of any kind that is called `name`. Raises as `find` does."""
        path = _at_home(name)
        if self.knows(name):
            return self.find(name)
        if name and os.path.isfile(path):
            return self._file_at(path, name, None)
        if looks_like_path(name) or (name and os.path.lexists(path)):
            return self.find(name)
        try:
            return self.catalogue.find(name)
        except UnknownNameError as error:
            raise self._unknown(name, [*self._places(), *self.catalogue.names()]) from error

    def scan(self) -> ScanReport:
        """Look through all folders, and read the headers of files that are new or changed."""
        report = self.catalogue.scan()
        broken = [(folder, error.message) for folder, error in self._linked_or_broken()[1]]
        return replace(report, problems=(*broken, *report.problems))

    def linked(self) -> Links:
        """The linked folders that are there, and whose they are."""
        return self._linked_or_broken()[0]

    def knows(self, name: str) -> bool:
        """Whether `name` is the name of a model, and not only a path."""
        return not looks_like_path(name) and (name in self._bundled or name in self._places())

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
            description = describe_file(path, cache_folder=self._settings.cache_folder, parts=parts, name=name)
        else:
            description = describe(path, name=name)
            if parts:
                description = describe_with_parts(description, parts, cache_folder=self._settings.cache_folder)
        self._read[key] = state, description
        return description

    def _fetched(self, name: str) -> Path | None:
        """The single file that was fetched from where `name` says."""
        endpoints = endpoints_of(self._settings)
        source = could_be(name, endpoints)
        if source is None:
            return None
        wanted = reference(source, endpoints)
        files = (found for folder in self.folders for found in fetched_files(folder))
        return next((path for path, origin in files if origin.reference == wanted), None)

    def _model_file(self, name: str, models: Names) -> IndexedFile:
        """The weight file `name` that can make pictures. Raises as `find` does."""
        try:
            return self.catalogue.find(name, kinds=PAINTERS)
        except UnknownNameError as error:
            raise self._unknown(name, [*models, *self.catalogue.names()]) from error

    def _file_at(self, path: Path, name: str, kinds: Collection[Kind] | None) -> IndexedFile:
        file = self.catalogue.at(path.absolute())
        if file is None:
            raise ModelError(f"There is no file `{path}`", hint="`gesso models list` shows the files that are here")
        return fitting(name, [file], kinds)

    def _linked_or_broken(self) -> tuple[Links, BrokenLinks]:
        linked: Links = []
        broken: BrokenLinks = []
        for folder in self._linked:
            try:
                linked.append(recognise_link(folder.absolute()))
            except ModelError as error:
                broken.append((folder, error))
        return linked, broken

    def _file_places(self) -> Iterator[Place]:
        """Where weight files are looked for."""
        for folder in self.folders:
            yield Place(root=folder.absolute(), folder=folder, linked=False)
        for link in self.linked():
            yield from link.places
        yield Place(root=self._hub_cache.absolute(), folder=self._hub_cache)

    def _unknown(self, name: str, known: Names, *, kind: str = "model") -> UnknownNameError:
        if kind == "model" and could_be(name, endpoints_of(self._settings)) is not None:
            told = addresses.told(name) if "://" in name else name
            partly = name.count("/") == 1 and (self._hub_cache / _hub_folder(name)).is_dir()
            hint = "the hub cache holds no complete copy; " if partly else "nothing is downloaded by itself; "
            return NotHereError(name, told, known, hint=f"{hint}`gesso models pull {told}` fetches it")
        nearest = UnknownNameError(kind, name, known).nearest
        hints = [f"nearest: {', '.join(nearest)}"] if nearest else []
        if kind == "model":
            known_bases = UnknownNameError(kind, name, known_names()).nearest
            if fetched := [found for found in known_bases if found not in nearest]:
                hints.append(f"`gesso models pull` could fetch {', '.join(fetched)}")
        if looks_like_hash(name) and (unknown := self.catalogue.without_digest()):
            hints.append(f"the hashes of {unknown} file(s) are not known: `gesso models scan --hash` computes them")
        hints.append("give the path of a folder, or put it into a model folder; `gesso models list` shows all")
        return UnknownNameError(kind, name, known, hint="; ".join(hints))

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
        roots = [*self.folders, *(place.root for link in self.linked() for place in link.places), self._hub_cache]
        for root in roots:
            for name, path in sorted(_model_folders(root, "", MAX_DEPTH)):
                places.setdefault(name or root.resolve().name, path)
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


def looks_like_path(name: str) -> bool:
    """Whether `name` can only be a path, and no name of anything."""
    return name.startswith((".", "~", os.sep)) or Path(name).is_absolute()


def _model_folders(folder: Path, name: str, depth: int) -> Iterator[tuple[str, Path]]:
    """Folders of models and their paths below the one that is searched; of repositories in a hub's cache, their ids."""
    if os.path.isfile(folder / INDEX_FILE):  # false also for a folder that is not ours to read
        yield name, folder
        return  # the folders inside are its components
    if depth == 0:
        return
    try:
        with os.scandir(folder) as found:
            inside = [entry for entry in found if is_folder(entry)]
    except (OSError, ValueError):  # not there, not ours to read, or no name at all: there are no models in it for us
        return
    for entry in inside:
        if entry.name.startswith(HUB_REPOSITORY):
            if (snapshot := hub_snapshot(entry)) is not None:
                yield from _model_folders(Path(snapshot[1]), snapshot[0], 0)
        else:
            yield from _model_folders(Path(entry.path), f"{name}/{entry.name}" if name else entry.name, depth - 1)


def _state(folder: Path) -> FolderState:
    """Changes whenever a file of the model is written, replaced, added or removed. Costs no reading.

    The time is that of the inode's change, which nobody can set back.
    """
    return tuple(sorted(_entries(str(folder), depth=1)))


def _entries(place: str, *, depth: int) -> Iterator[tuple[str, int, int, int]]:
    try:
        if not os.path.isdir(place):
            yield _entry(place)
            return
        with os.scandir(place) as inside:
            for entry in inside:
                yield _entry(entry.path)
                if depth and entry.is_dir():
                    yield from _entries(entry.path, depth=depth - 1)
    except OSError:  # `describe` says what is wrong with it
        yield place, 0, 0, 0


def _entry(path: str) -> tuple[str, int, int, int]:
    status = os.stat(path)  # of what a link points to, as in the hub's cache
    return path, status.st_ino, status.st_ctime_ns, status.st_size


def _hub_folder(repo: str) -> str:
    return "models--" + repo.replace("/", "--")
