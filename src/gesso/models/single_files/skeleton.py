"""The small files of a model that is no folder, in a folder: index, configs and vocabularies, without weights.

It lies in the cache under the digest of its content, so it is written once, serves all models that have the same, and
never changes.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from gesso.core.files import reporting_storage, write_atomically

_FOLDER = "skeletons"

SmallFiles = Mapping[str, bytes]
"""Content by path, which is relative and has `/` between its parts."""


def skeleton_folder(files: SmallFiles, cache_folder: Path) -> Path:
    """A folder with exactly these files.

    Raises:
        StorageError: the cache cannot be written.
    """
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    folder = cache_folder / _FOLDER / digest.hexdigest()[:32]
    if _is_whole(folder, files):
        return folder
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    with reporting_storage(folder, option="--setting cache_folder=FOLDER"):
        try:
            for name, content in files.items():
                write_atomically(temporary / name, content)
            if folder.exists():  # somebody took files out of it
                shutil.rmtree(folder, ignore_errors=True)
            try:
                os.rename(temporary, folder)
            except OSError:
                if not _is_whole(folder, files):  # else another process was faster
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _is_whole(folder: Path, files: SmallFiles) -> bool:
    try:
        return all((folder / name).stat().st_size == len(content) for name, content in files.items())
    except OSError:
        return False
