"""Where pictures shall go, checked before anything is made that could not be kept."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gesso.core.errors import InputError, StorageError, UsageError
from gesso.core.files import reporting_storage

if TYPE_CHECKING:
    from gesso.core.settings import Settings


def checked_format(out: Path | None, settings: "Settings", *, count: int, asked: str | None) -> str | None:
    """The format that the files shall have: as asked, else as `out` ends; `None` leaves it to the settings.

    Args:
        out: as given with `--out`.
        count: how many pictures there will be.
        asked: as given with `--format`.

    Raises:
        UsageError: these do not go together.
        StorageError: the place cannot be written.
    """
    from gesso.core.requests import OutputFormat
    from gesso.engine.naming import destination

    known = OutputFormat(asked) if asked in list(OutputFormat) else None
    try:
        place = destination(out, settings, count=count, asked=known)
    except InputError as error:
        raise UsageError(error.message, hint=error.hint) from error
    check_writable(place.folder)
    if place.file is not None:
        with reporting_storage(place.file):
            place.file.exists()  # asked only because a name that no file can have is told of here
    return asked or place.output_format


def check_writable(folder: Path, *, option: str = "--out") -> None:
    """Look whether files could be written into `folder`, which may have to be made first.

    Args:
        option: what chooses another one.

    Raises:
        StorageError: something else is in the way, or the folder may not be written.
    """
    with reporting_storage(folder, option=option):
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
    if not folder.is_dir():
        raise StorageError(f"`{folder}` is a file, not a folder", hint=f"choose another folder with `{option}`")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(f"`{folder}` may not be written", hint=f"choose another folder with `{option}`")
