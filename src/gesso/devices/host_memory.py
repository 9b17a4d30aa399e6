"""Memory of the machine, or of the container that this process may use; on Linux, macOS and Windows."""

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gesso.core.errors import DeviceError


@dataclass(frozen=True, kw_only=True)
class HostMemory:
    """Bytes of main memory. Swap does not count."""

    total_bytes: int
    free_bytes: int
    """Could be had now: free, or held by caches that give way."""


def host_memory(root: Path = Path("/")) -> HostMemory:
    """What this process may use: the least of the machine's memory and the limits of its control groups.

    Args:
        root: where `/proc` and `/sys` are.

    Raises:
        DeviceError: the system does not say.
    """
    if (root / "proc/meminfo").is_file():
        machine = _linux(root)
        limits = [machine, *_control_groups(root)]
        return HostMemory(
            total_bytes=min(limit.total_bytes for limit in limits),
            free_bytes=max(0, min(limit.free_bytes for limit in limits)),
        )
    if sys.platform == "win32":
        return _windows()
    if sys.platform == "darwin":
        return _macos()
    raise DeviceError("This system does not say how much memory it has")


def _linux(root: Path) -> HostMemory:
    text = (root / "proc/meminfo").read_text(encoding="ascii", errors="replace")
    kib = {match[1]: int(match[2]) for match in re.finditer(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    free = kib.get("MemAvailable", kib.get("MemFree", 0) + kib.get("Cached", 0))
    return HostMemory(total_bytes=kib["MemTotal"] * 1024, free_bytes=free * 1024)


def _control_groups(root: Path) -> Iterator[HostMemory]:
    """The limit of each control group that this process is in, version 1 and 2, up to the topmost.

    What a group has read from files counts as used there, and gives way: it is taken as free.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for folder in (*_upwards(mount, path), *_upwards(mount / "unified", path)):
                yield from _limit(folder, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            for folder in _upwards(mount / "memory", path):
                yield from _limit(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _upwards(mount: Path, path: str) -> list[Path]:
    """The group's folder and those above it. In a container the path may be one of the host: only its top is seen."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [mount.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]


def _limit(folder: Path, limit_file: str, usage_file: str, cache_key: str) -> Iterator[HostMemory]:
    try:
        limit = int((folder / limit_file).read_text())  # "max" is no limit
        used = int((folder / usage_file).read_text())
        statistics = (folder / "memory.stat").read_text()
    except (OSError, ValueError):
        return
    cache = re.search(rf"^{cache_key} (\d+)$", statistics, re.MULTILINE)
    yield HostMemory(total_bytes=limit, free_bytes=limit - used + (int(cache[1]) if cache else 0))


def _macos() -> HostMemory:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    text = subprocess.run(["vm_stat"], capture_output=True, text=True, check=True, timeout=10).stdout
    return HostMemory(total_bytes=total, free_bytes=min(total, vm_stat_free_bytes(text)))


def vm_stat_free_bytes(text: str) -> int:
    """Free bytes from what macOS's `vm_stat` prints: pages that are free or give way."""
    size = re.search(r"page size of (\d+) bytes", text)
    pages = {match[1]: int(match[2]) for match in re.finditer(r"^Pages ([\w ]+):\s+(\d+)\.$", text, re.MULTILINE)}
    if size is None or "free" not in pages:
        raise DeviceError("`vm_stat` does not say how much memory is free")
    return int(size[1]) * sum(pages.get(kind, 0) for kind in ("free", "inactive", "speculative", "purgeable"))


def _windows() -> HostMemory:
    class MemoryStatus(ctypes.Structure):  # MEMORYSTATUSEX of the Windows API
        _fields_ = [
            ("dwLength", ctypes.c_ulong),
            ("dwMemoryLoad", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", "c", "d", "e", "f", "g")),
        ]

    status: Any = MemoryStatus()
    status.dwLength = ctypes.sizeof(status)
    windows: Any = ctypes
    if not windows.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        raise DeviceError("Windows does not say how much memory it has")
    return HostMemory(total_bytes=int(status.total), free_bytes=int(status.free))
