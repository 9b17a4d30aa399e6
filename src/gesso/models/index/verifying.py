"""Whether files are still what they were: headers, sizes and every byte, against all that is known of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gesso.core.errors import ModelError
from gesso.core.units import gib
from gesso.models.folder import ModelDescription, verify
from gesso.models.headers.read import read_weights_header
from gesso.models.identity import file_digest
from gesso.models.index.catalogue import FileCatalogue, Progress
from gesso.models.index.entry import IndexedFile


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of looking at one file or folder."""

    name: str
    path: Path
    problems: tuple[str, ...]
    """What is damaged or has changed; nothing, if all is well."""
    sha256: str | None = None
    compared: tuple[str, ...] = ()
    """What the sha256 was compared with. Nothing: it is kept now, for the next time."""


def verify_file(catalogue: FileCatalogue, file: IndexedFile, progress: Progress | None = None) -> Verification:
    """Read all of a file. What is found is kept where nothing was known; it never replaces what was."""
    try:
        read_weights_header(file.path)
        sha256 = file_digest(file.path, progress)
    except ModelError as error:
        return Verification(name=file.name, path=file.path, problems=(error.message,))
    kept = catalogue.kept_digest(file)
    problems: list[str] = []
    if kept is not None and kept.sha256 != sha256:
        problems += _changes(file, kept.stamp, kept.said, f"sha256 is {sha256}, was {kept.sha256}")
    declared = file.facts.declared_sha256
    if declared is not None and declared != sha256:
        problems.append(f"sha256 is {sha256}, and what came with the file says {declared}")
    if not problems:
        catalogue.keep_digest(file, sha256)
    known = {"the sha256 that came with it": declared, "its sha256 of before": kept}
    return Verification(
        name=file.name,
        path=file.path,
        problems=tuple(problems),
        sha256=sha256,
        compared=tuple(what for what, value in known.items() if value is not None),
    )


def verify_folder(
    catalogue: FileCatalogue, description: ModelDescription, progress: Progress | None = None
) -> Verification:
    """Check that nothing of a model folder is missing or cut off, and each weight file as `verify_file` does."""
    problems: list[str] = []
    try:
        verify(description, safety_checker=True)
    except ModelError as error:
        problems.append(error.message)
    checked = [verify_file(catalogue, file, progress) for file in _weights(catalogue, description)]
    problems += [
        f"{file.path.relative_to(description.path.absolute())}: {why}" for file in checked for why in file.problems
    ]
    compared = tuple(dict.fromkeys(what for file in checked for what in file.compared))
    return Verification(
        name=description.name, path=description.path, problems=tuple(dict.fromkeys(problems)), compared=compared
    )


def _weights(catalogue: FileCatalogue, description: ModelDescription) -> Iterator[IndexedFile]:
    for network in description.networks:
        for path in network.weight_files:
            file = catalogue.at(path.absolute())
            if file is not None:
                yield file


def _changes(file: IndexedFile, stamp: str, said: str, digests: str) -> list[str]:
    """What differs from before, the telling things first."""
    size = int(stamp.partition(":")[0])
    changes: list[str] = []
    if size != file.size_bytes:
        changes.append(f"its size is {gib(file.size_bytes)} ({file.size_bytes} bytes), was {size} bytes")
    if said != file.said:
        changes.append(f"its header says `{file.said}`, said `{said}`")
    if not changes and file.found.content_stamp == stamp:
        changes.append("its bytes changed, and its time did not: the disk may be failing")
    return [*changes, digests]
