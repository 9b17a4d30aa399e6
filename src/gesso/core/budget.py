"""How much memory a device has: the value that device handlers report and the memory planner reads."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MemoryBudget:
    """Memory of one device at one moment, in bytes."""

    device: str
    total_bytes: int
    free_bytes: int
