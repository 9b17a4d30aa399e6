"""Which machine, which libraries: without it no figure means anything."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from gesso.devices import choose
from gesso.devices.cpu import CpuDevice, usable_cores
from gesso.devices.host_memory import host_memory

_PACKAGES = ("gesso", "torch", "diffusers", "transformers", "numpy", "litserve")


def load_average() -> float | None:
    """Processes that wanted to compute during the last minute; `None` where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def machine() -> dict[str, Any]:
    """What the tables say about where they were made. JSON."""
    return {
        "processor": CpuDevice().title,
        "capability": CpuDevice().capability,
        "cores": usable_cores(),
        "memory_gib": round(host_memory().total_bytes / 2**30, 1),
        "system": _system(),
        "accelerators": [device.title for device in choose.discover() if device.accelerator],
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _PACKAGES} | {"torch": str(torch.__version__)},
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _system(os_release: Path = Path("/etc/os-release")) -> str:
    kernel = f"{platform.system()} {platform.release()}"
    if os_release.is_file():
        lines = dict(line.split("=", 1) for line in os_release.read_text().splitlines() if "=" in line)
        return f"{lines.get('PRETTY_NAME', '').strip(chr(34))}, {kernel}"
    return platform.platform()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
