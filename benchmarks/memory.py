"""Peak memory of a process and all that it started, as Linux counts it."""

import re
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


def peak_bytes(pid: int, proc: Path = PROC) -> int | None:
    """Sum of the peaks of resident memory in the tree of `pid`; `None` where the system does not tell.

    Pages that processes share, such as those of libraries, count once for each.
    """
    if not (proc / str(pid)).is_dir():
        return None
    found = _processes(proc)
    return sum(found[process].peak_bytes for process in (pid, *descendants(pid, proc)) if process in found)


def descendants(pid: int, proc: Path = PROC) -> list[int]:
    """The processes that `pid` started, and those that they started; empty where the system does not tell."""
    children: dict[int, list[int]] = {}
    for process, status in _processes(proc).items():
        children.setdefault(status.parent, []).append(process)
    below: list[int] = []
    waiting = [pid]
    while waiting:
        found = children.get(waiting.pop(), [])
        below += found
        waiting += found
    return below


class _Status(NamedTuple):
    parent: int
    peak_bytes: int


def _processes(proc: Path) -> dict[int, _Status]:
    if not proc.is_dir():
        return {}
    numbers = [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]
    return {number: status for number in numbers if (status := _status(proc / str(number) / "status")) is not None}


def _status(path: Path) -> _Status | None:
    """`None` for a process that has just ended."""
    try:
        text = path.read_text()
    except OSError:
        return None
    parent = re.search(r"^PPid:\s+(\d+)$", text, re.MULTILINE)
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return _Status(int(parent[1]), int(peak[1]) * 1024 if peak else 0) if parent else None
