"""Folders of other studios that a person linked, kept in a file of their own beside the settings.

A program may write it at any time; the settings file belongs to the person, comments and all.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from gesso.core.errors import SettingsError, StorageError
from gesso.core.files import write_atomically

LINKS_FILE = "linked-folders.json"
_KEY = "linked_folders"


def read_links(file: Path) -> tuple[Path, ...]:
    """The folders in the order in which they were linked; none where there is no file.

    Raises:
        SettingsError: it cannot be read, or holds something else.
    """
    try:
        if not file.is_file():
            return ()
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"`{file}` could not be read: {error.strerror}", hint="check its rights") from error
    except (ValueError, RecursionError) as error:
        raise _no_list(file) from error
    folders = cast("dict[str, object]", content).get(_KEY) if isinstance(content, dict) else None
    if not isinstance(folders, list):
        raise _no_list(file)
    named = cast("list[object]", folders)
    if any(not isinstance(folder, str) or "\0" in folder for folder in named):
        raise _no_list(file)
    return tuple(Path(str(folder)) for folder in named)


def write_links(file: Path, folders: Sequence[Path]) -> None:
    """Replace what is linked. Raises `StorageError` where the file cannot be written."""
    text = json.dumps({_KEY: [str(folder) for folder in folders]}, indent=2)  # ASCII, whatever bytes a name has
    try:
        write_atomically(file, text.encode() + b"\n")
    except StorageError as error:
        raise StorageError(error.message, hint="the list of linked folders is kept beside your settings") from error


def _no_list(file: Path) -> SettingsError:
    return SettingsError(
        f"`{file}` holds no list of linked folders",
        hint="remove the file, and link them again with `gesso models link`",
    )
