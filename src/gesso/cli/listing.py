"""Models and weight files as `gesso models` prints them: one entry for each, for programs, and a line for people."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gesso.cli.output import print_columns, print_warning
from gesso.core.errors import GessoError, UnknownNameError, UsageError
from gesso.core.units import gib

if TYPE_CHECKING:
    from gesso.core.settings import Settings
    from gesso.models.folder import ModelDescription
    from gesso.models.index.entry import IndexedFile
    from gesso.models.places import LinkedFolder
    from gesso.models.store import BrokenModel, ModelStore

PIPELINE = "pipeline"
"""The kind of a whole model folder."""
PENDING = "pending"
_WITHOUT_KIND = "broken"
Entry = dict[str, Any]


def model_entry(model: "ModelDescription", settings: "Settings") -> Entry:
    """A model folder."""
    from gesso.models.identity import Identities
    from gesso.models.index.sidecars import card_of

    card = card_of(model.path)
    parts = [part for part in model.components.values() if part.role is not None]
    try:
        sha256 = Identities(settings.cache_folder).known(model)
    except GessoError:  # a file of it is gone since it was described
        sha256 = None
    return {
        "name": model.name,
        "kind": PIPELINE,
        "family": model.family.name if model.family else "other",
        "path": model.path,
        "pipeline": model.pipeline_class,
        "components": [
            {
                "name": part.name,
                "library": part.library,
                "class": part.class_name,
                "role": part.role,
                "format": part.dtype,
                "bytes": part.weight_bytes,
            }
            for part in model.components.values()
        ],
        "dtype": max(parts, key=lambda part: part.weight_bytes).dtype if parts else None,
        "bytes": model.weight_bytes,
        "sha256": sha256.removeprefix("sha256:") if sha256 else None,
        "license": card.license,
        "trained_words": card.trained_words,
        "problem": None,
    }


def broken_entry(broken: "BrokenModel") -> Entry:
    """A folder that should hold a model and does not."""
    return {
        "name": broken.name,
        "kind": PIPELINE,
        "family": None,
        "path": broken.path,
        "pipeline": None,
        "components": [],
        "dtype": None,
        "bytes": 0,
        "sha256": None,
        "license": None,
        "trained_words": (),
        "problem": broken.reason,
    }


def file_entry(file: "IndexedFile") -> Entry:
    """A weight file."""
    facts = file.facts
    return {
        "name": file.name,
        "kind": facts.kind,
        "family": facts.families[0] if len(facts.families) == 1 else None,
        "families": facts.families,
        "network": facts.network,
        "variant": facts.variant,
        "task": facts.task,
        "prediction": facts.prediction,
        "algorithm": facts.algorithm,
        "path": file.path,
        "also": file.also,
        "folder": file.found.place.folder,
        "linked": file.found.place.linked,
        "dtype": facts.dtype,
        "bytes": file.size_bytes,
        "sha256": file.sha256,
        "short_hash": file.short_hash,
        "old_hash": facts.old_hash,
        "title": facts.title,
        "author": facts.author,
        "license": facts.license,
        "base": facts.base,
        "trained_words": facts.trained_words,
        "description": facts.description,
        "notes": facts.notes,
        "misplaced": file.misplaced,
        "problem": facts.problem,
    }


def entries(store: "ModelStore", settings: "Settings", files: tuple["IndexedFile", ...]) -> Iterator[Entry]:
    """Everything that there is: model folders, then files, then folders that are broken."""
    yield from (model_entry(model, settings) for model in store.list())
    yield from map(file_entry, files)
    yield from map(broken_entry, store.broken())


def chosen(found: list[Entry], *, kind: str | None, family: str | None, text: str | None) -> list[Entry]:
    """Those of a kind and family in which `text` occurs: in the name, the title or the trained words.

    Raises:
        UsageError: there is no such kind.
    """
    if kind is not None:
        kind = _known_kind(kind)
        found = [entry for entry in found if (entry["kind"] or _WITHOUT_KIND) == kind]
    if family is not None:
        families = {name for entry in found for name in _families(entry)}
        if family not in families:
            print_warning(f"nothing here is of the family `{family}`; there is {', '.join(sorted(families)) or 'none'}")
        found = [entry for entry in found if family in _families(entry)]
    if text is not None:
        wanted = text.casefold()
        found = [entry for entry in found if wanted in _searched(entry)]
    return found


def _known_kind(kind: str) -> str:
    from gesso.models.recognition.kinds import Kind

    known = [PIPELINE, *Kind, _WITHOUT_KIND]
    meant = next((each for each in known if each.replace(" ", "-") == kind.replace(" ", "-").lower()), None)
    if meant is None:
        nearest = UnknownNameError("kind", kind, known).nearest
        hint = f"nearest: {', '.join(nearest)}" if nearest else f"known: {', '.join(known)}"
        raise UsageError(f"`--kind`: there is no kind `{kind}`", hint=hint)
    return meant


def _families(entry: Entry) -> tuple[str, ...]:
    return tuple(entry.get("families") or ([entry["family"]] if entry["family"] else ()))


def _searched(entry: Entry) -> str:
    return "\n".join([entry["name"], entry.get("title") or "", *entry["trained_words"]]).casefold()


def print_entries(found: list[Entry]) -> None:
    """A line for each that can be used, then what is wrong with the others."""
    print_columns(
        ("name", "kind", "family", "dtype", "size", "hash", "path"),
        [
            (
                entry["name"],
                entry["kind"],
                " or ".join(_families(entry)),
                entry["dtype"] or "",
                gib(entry["bytes"]),
                short_hash(entry),
                str(entry["path"]),
            )
            for entry in found
            if entry["problem"] is None
        ],
    )
    for entry in found:
        if entry["problem"] is not None:
            print_warning(f"`{entry['name']}` cannot be used: {entry['problem']} ({entry['path']})")
        elif entry.get("misplaced"):
            print_warning(f"`{entry['name']}`: {entry['misplaced']}")


def short_hash(entry: Entry) -> str:
    """The first ten digits, or that they are not computed yet."""
    return entry["sha256"][:10] if entry["sha256"] else PENDING


def print_links(links: "Sequence[LinkedFolder]", files: "Sequence[IndexedFile]") -> None:
    """The linked folders, whose they are, and how many files were found in each."""
    counts: dict[Path, int] = {}
    for file in files:
        counts[file.found.place.folder] = counts.get(file.found.place.folder, 0) + 1
    print_columns(
        ("linked folder", "layout", "files"),
        [(str(link.folder), link.layout, str(counts.get(link.folder, 0))) for link in links],
    )


def warn_of_folders(problems: "Sequence[tuple[Path, str]]") -> None:
    """Name the folders that were not searched."""
    for path, problem in problems:
        print_warning(f"`{path}` is left out: {problem}")
