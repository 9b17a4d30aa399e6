"""Writing files so that a reader never sees half of one."""

import errno
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from gesso.core.errors import StorageError

_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

_TEMPORARY = ".part"
"""Suffix of a file that is being written. A writer that is killed leaves it; nobody reads it."""


@contextmanager
def reporting_storage(path: Path, *, option: str = "--out") -> Generator[None]:
    """Turn what the operating system says about `path` into a `StorageError` with a remedy.

    Args:
        option: of the command line, which chooses another place.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageError(f"No room left on the disk for `{path}`", hint="free some space") from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise StorageError(f"`{path}` may not be written", hint=f"choose another folder with `{option}`") from error
        raise StorageError(
            f"`{path}` could not be written: {error.strerror or error}", hint=f"choose another place with `{option}`"
        ) from error


def write_atomically(path: Path, data: bytes, *, exclusive: bool = False) -> None:
    """Write `data` under a temporary name, flush it to the disk, then give it its name in one step.

    Args:
        exclusive: raise `FileExistsError` if `path` is there already, also when somebody else just made it.

    Raises:
        StorageError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    with writing_atomically(path, exclusive=exclusive) as temporary, reporting_storage(path):
        handle = os.open(temporary, _NEW_FILE, 0o666)  # less what the umask forbids, as for any file of the user
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def writing_atomically(path: Path, *, exclusive: bool = False) -> Generator[Path]:
    """A temporary name beside `path`: what was written there by the end of the block gets the name `path` in one step.

    Args:
        exclusive: raise `FileExistsError` if `path` is there already, also when somebody else just made it.

    Raises:
        StorageError: the folder cannot be written. Whatever is raised, nothing is left behind.
    """
    with reporting_storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{secrets.token_hex(8)}{_TEMPORARY}"
    try:
        yield temporary
        if exclusive:
            _link_exclusively(temporary, path)
        else:
            with reporting_storage(path):
                os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
    _sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left in `folder`, into which nobody else may be writing now."""
    for path in folder.glob(f".*{_TEMPORARY}"):
        with suppress(OSError):
            path.unlink()


def _link_exclusively(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: claim the name first, then fill it
        _claim(path)
        try:
            with reporting_storage(path):
                os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(path)
            raise


def _claim(path: Path) -> None:
    try:
        os.close(os.open(path, _NEW_FILE, 0o666))
    except FileExistsError:
        raise
    except OSError:
        with reporting_storage(path):
            raise


def _sync_folder(folder: Path) -> None:
    """Make the new name itself durable (POSIX); other systems do not open folders."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
