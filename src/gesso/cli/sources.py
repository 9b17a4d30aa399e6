"""The files that a picture is made from, looked at before anything runs."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gesso.core.errors import UsageError

if TYPE_CHECKING:
    from gesso.core.requests import ImageRequest


def refuse_empty(path: str | None, *, words: str) -> None:
    """Raises `UsageError` for a path without a character, which would be the current folder."""
    if path == "":
        raise UsageError(f"The path of the {words} is empty", hint="give that of a PNG, JPEG or WebP file")


def sources_of(request: "ImageRequest") -> list[str]:
    """The pictures that a request begins with, by path or in a `data:` URL."""
    given = (request.image, request.inpaint and request.inpaint.mask)
    return [use if isinstance(use, str) else use.source for use in given if use is not None]


def refuse_to_replace(sources: Iterable[str], out: Path | None) -> None:
    """Raises `UsageError` where `--out` is a file that the picture is made from: it could never be made again."""
    from gesso.core.given_pictures import DATA

    if out is None or not os.path.isfile(out):
        return
    for source in (os.path.expanduser(source) for source in sources if not source.startswith(DATA)):
        if os.path.exists(source) and os.path.samefile(source, out):
            raise UsageError(
                f"`--out {out}` would replace `{source}`, which the picture is made from",
                hint="give another `--out`: `--from` and `gesso replay` read that file again",
            )
