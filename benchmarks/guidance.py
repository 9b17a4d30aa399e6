"""Guidance in one pass of two rows, as diffusers does it, against two passes of one row."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import ladder
from benchmarks.ceiling import measured
from benchmarks.progress import tell
from gesso.devices.cpu import usable_cores

_SIDES = (8, 16, 64)


def run(*, sides: tuple[int, ...] = _SIDES, seconds: float = 1.5) -> dict[str, Any]:
    """Seconds of a guided step of the bare denoiser, both ways. JSON."""
    threads = sorted({1, usable_cores()})
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="gesso-bench-") as folder:
        models = {"primer": "primer"} | {f"UNet {side}x{side}": str(ladder.save(Path(folder), side)) for side in sides}
        for name, model in models.items():
            tell(f"guidance: {name}")
            bare = measured(model, threads=threads, seconds=seconds, rows=(1, 2))
            found.append({"name": name, "one_pass": 2 * bare.per_row(2), "two_passes": 2 * bare.per_row(1)})
    return {"subjects": found}
