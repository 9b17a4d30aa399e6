"""A folder of pictures in place of one: the same is done to each."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gesso.cli.fetching import Fetch, with_models_here
from gesso.cli.output import print_json, print_warning
from gesso.core.errors import CancelledError, GessoError, InputError, NotHereError, UsageError

if TYPE_CHECKING:
    from gesso.core.requests import ImageRequest
    from gesso.core.settings import Settings
    from gesso.engine.handle import Handle
    from gesso.engine.studio import Studio

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_MOST_NAMED = 5
"""Files that are skipped; of more the number is told."""


def is_folder(image: str) -> bool:
    """Whether a picture as it was given is a folder of them, and not a file or a `data:` URL."""
    from gesso.core.given_pictures import DATA

    return not image.startswith(DATA) and os.path.isdir(os.path.expanduser(image))


def refuse_for_folders(out: Path | None, journal: Path | None) -> None:
    """Raises `UsageError` for what is of one picture only."""
    if journal is not None:
        raise UsageError("`--journal` is of one request, and a folder is many", hint="leave it out")
    if out is not None and out.suffix.lower() in _SUFFIXES:
        raise UsageError(f"`--out {out}` is one file, for a folder of pictures", hint="give a folder")


def _requests(request: "ImageRequest", folder: Path) -> list["ImageRequest"]:
    """The request of each picture in `folder`, in the order of their names.

    Raises:
        InputError: there is none.
    """
    found = _files(folder, _SUFFIXES)
    if not found:
        raise InputError(f"There is no PNG, JPEG or WebP picture in `{folder}`", hint="give another folder")
    return [request.model_copy(update={"image": str(path)}) for path in found]


def _skipped(folder: Path) -> list[str]:
    """A line that tells which pictures in `folder` are of a format that is not read, if there are any."""
    from gesso.engine.naming import OTHER_SUFFIXES

    names = [f"`{path.name}`" for path in _files(folder, OTHER_SUFFIXES)]
    more = [f"{len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    told = ", ".join(names[:_MOST_NAMED] + more)
    return [f"Skipped in `{folder}`, where only PNG, JPEG and WebP pictures are read: {told}"] if names else []


def _files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file())


def run_folder(
    request: "ImageRequest", folder: Path, settings: "Settings", *, fetch: Fetch, out: Path | None, as_json: bool
) -> None:
    """Make the same of all pictures in a folder in one studio, so that they share forwards; save and print each as soon
    as it is done, with its source behind a tab.

    Args:
        fetch: what is not here.

    Raises:
        GessoError: some were not made, each told when the others are, with the exit code of the first; or none can be.
    """
    from gesso.cli.album import Album
    from gesso.engine.studio import Studio

    skipped = _skipped(folder)
    for line in skipped:
        print_warning(line)
    requests = _with_models(_requests(request, folder), settings, fetch)
    told: list[dict[str, Any]] = []
    failed: dict[str, GessoError] = {}
    with Studio(settings) as studio:
        handles = _submitted(requests, studio, failed)
        try:
            for handle in handles:
                album, source, warnings = Album(out, settings), str(handle.asked.image), tuple[str, ...]()
                try:
                    warnings = handle.result().warnings
                    for warning in warnings:
                        print_warning(f"`{source}`: {warning}")
                except CancelledError:
                    raise
                except GessoError as error:
                    failed[source] = error
                finally:
                    album.add_rest(handle)
                    told += [{**entry, "source": source, "warnings": warnings} for entry in album.as_list()]
                    if not as_json:
                        for path in album.paths:
                            print(f"{path}\t{source}", flush=True)
        finally:
            for handle in handles:
                handle.cancel()
            if as_json:
                not_made = [{"image": source, "error": error.message} for source, error in failed.items()]
                print_json({"images": told, "failed": not_made, "warnings": skipped})
    for source, error in failed.items():
        print_warning(f"`{source}`: {error.message}")
    if failed:
        raise NotAllMadeError(list(failed.values()), of=len(requests))


class NotAllMadeError(GessoError):
    """Some pictures of a folder were not made."""

    def __init__(self, failed: list[GessoError], *, of: int) -> None:
        super().__init__(f"Of {of} pictures {len(failed)} failed", hint=failed[0].hint)
        self.exit_code = failed[0].exit_code


def _with_models(requests: list["ImageRequest"], settings: "Settings", fetch: Fetch) -> list["ImageRequest"]:
    """The same of models that are here. All name the same ones."""
    from gesso.engine.studio import Studio

    with Studio(settings) as studio:

        def resolved(request: "ImageRequest") -> "ImageRequest":
            try:
                studio.resolve(request)
            except NotHereError:
                raise
            except GessoError:  # of this picture, or of all: told in its turn
                pass
            return request

        found = with_models_here(requests[0], resolved, fetch)
    return [request.model_copy(update={"model": found.model, "refiner": found.refiner}) for request in requests]


def _submitted(requests: list["ImageRequest"], studio: "Studio", failed: dict[str, GessoError]) -> list["Handle"]:
    """Those that can be made; the others are entered in `failed`. Raises what is wrong with the first if all are."""
    handles: list[Handle] = []
    for request in requests:
        try:
            handles.append(studio.submit(request))
        except GessoError as error:
            failed[str(request.image)] = error
    if not handles:
        raise next(iter(failed.values()))
    return handles
