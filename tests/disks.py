"""Disks with hardly any room."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, *, kib: int) -> Iterator[bool]:
    """Let `folder`, which is made, lie on a disk with so little room; whether it could be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    mounted = (
        shutil.which("mount") is not None and not subprocess.run(mount, check=False, capture_output=True).returncode
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Let `folder`, which is made, lie on a disk with 8 KiB of room; or, without the right to mount, on one that says
    so whenever this process writes to it."""

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with small_disk(folder, kib=8) as mounted, pytest.MonkeyPatch.context() as patched:
        if not mounted:
            patched.setattr(os, "fsync", full)
        yield
