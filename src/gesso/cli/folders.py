"""A folder of pictures in place of one: the same is done to each."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gesso.cli.output import print_json, print_warning
from gesso.core.errors import InputError, UsageError

if TYPE_CHECKING:
    from gesso.core.requests import ImageRequest
    from gesso.core.settings import Settings

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})


def is_folder(image: str) -> bool:
    """Whether a picture as it was given is a folder of them, and not a file or a `data:` URL."""
    from gesso.core.requests import DATA

    return not image.startswith(DATA) and os.path.isdir(os.path.expanduser(image))


def refuse_for_folders(out: Path | None, journal: Path | None) -> None:
    """Raises `UsageError` for what is of one picture only."""
    if journal is not None:
        raise UsageError("`--journal` is of one request, and a folder is many", hint="leave it out")
    if out is not None and out.suffix.lower() in _SUFFIXES:
        raise UsageError(f"`--out {out}` is one file, for a folder of pictures", hint="give a folder")


def requests_of_folder(request: "ImageRequest", folder: Path) -> list["ImageRequest"]:
    """The request of each picture in `folder`, in the order of their names.

    Raises:
        InputError: there is none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not found:
        raise InputError(f"There is no PNG, JPEG or WebP picture in `{folder}`", hint="give another folder")
    return [request.model_copy(update={"image": str(path)}) for path in found]


def run_folder(requests: list["ImageRequest"], settings: "Settings", *, out: Path | None, as_json: bool) -> None:
    """Make all pictures in one studio, so that they share forwards; save and print each as soon as it is done.

    One that cannot be used is told before anything runs.
    """
    from gesso.cli.album import Album
    from gesso.engine.studio import Studio

    told: list[dict[str, Any]] = []
    with Studio(settings) as studio:
        for request in requests:
            studio.resolve(request)
        handles = [studio.submit(request) for request in requests]
        try:
            for handle in handles:
                album = Album(out, settings)
                try:
                    for warning in handle.result().warnings:
                        print_warning(f"`{handle.asked.image}`: {warning}")
                finally:
                    album.add_rest(handle)
                    told += [{**entry, "source": handle.asked.image} for entry in album.as_list()]
                    if not as_json:
                        print("\n".join(str(path) for path in album.paths))
        finally:
            for handle in handles:
                handle.cancel()
            if as_json:
                print_json({"images": told})
