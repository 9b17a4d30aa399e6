"""The processor."""

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from gesso.core.budget import MemoryBudget
from gesso.core.requests import Precision
from gesso.devices.base import Device, Marker, finite_vae_precision
from gesso.devices.host_memory import host_memory

_NO_ROOM = ("DefaultCPUAllocator", "not enough memory")
_NO_ROOM_FOR_KERNEL = "could not create a primitive"
"""What oneDNN says where it finds no memory for one; where it has none that fits, it goes on to say so."""


class CpuMarker:
    """A moment: on the CPU what was asked for before is done."""

    def __init__(self) -> None:
        self.time = time.perf_counter()

    def wait(self) -> None:
        """Return at once."""

    def seconds_since(self, earlier: Marker) -> float:
        assert isinstance(earlier, CpuMarker), "markers of different devices have no common clock"
        return self.time - earlier.time


class CpuDevice:
    """The processor. Calls return when their work is done; its memory is the host's."""

    kind = "cpu"
    name = "cpu"
    accelerator = False

    @classmethod
    def discover(cls) -> Sequence[Device]:
        return [cls()]

    @property
    def title(self) -> str:
        return _processor_title()

    @property
    def capability(self) -> str:
        return f"cpu {torch.backends.cpu.get_cpu_capability().lower()}"

    def memory(self) -> MemoryBudget:
        memory = host_memory()
        return MemoryBudget(device=self.name, total_bytes=memory.total_bytes, free_bytes=memory.free_bytes)

    def precision(self) -> Precision:
        return Precision.FLOAT32  # half formats are slower here: few processors compute in them

    def vae_precision(self, precision: Precision, *, force_upcast: bool) -> Precision:
        return finite_vae_precision(precision, force_upcast=force_upcast, bfloat16=True)

    def supports(self, precision: Precision) -> bool:
        return True

    def marker(self) -> CpuMarker:
        return CpuMarker()

    def empty_cache(self) -> None:
        """Nothing is held for reuse."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        if isinstance(error, MemoryError):
            return True
        if not isinstance(error, RuntimeError):
            return False
        return str(error) == _NO_ROOM_FOR_KERNEL or any(sign in str(error) for sign in _NO_ROOM)


def usable_cores() -> int:
    """Cores that this process may use; only Linux says which these are."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _processor_title(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    if cpuinfo.is_file():
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            return found[1].strip()
    if sys.platform == "darwin":
        asked = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False, timeout=10
        )
        if asked.returncode == 0:
            return asked.stdout.strip()
    return os.environ.get("PROCESSOR_IDENTIFIER") or platform.processor() or platform.machine()
