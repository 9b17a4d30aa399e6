"""The raw figures of each part as JSON: `benchmarks/results/PART.json`."""

import json
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from gesso.core.files import write_atomically

FOLDER = Path(__file__).parent / "results"
PARTS = ("concurrency", "editing", "overhead", "latency", "person", "guidance", "startup", "gpu")
INSTALL = "install"
"""Measured only when asked for: it needs a package index."""
CONVERSION = "conversion"
"""Measured only when asked for: it needs some 30 GB of disk."""


def write(
    part: str, figures: dict[str, Any], *, minutes: float, load_before: float | None = None, folder: Path = FOLDER
) -> Path:
    """Keep the figures of a part together with the machine they were made on.

    Args:
        minutes: how long it took.
        load_before: load average of the machine before anything was measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part}.json"
    about = {"part": part, "machine": machine() | {"load_before": load_before}, "minutes": round(minutes, 1)}
    document = about | _rounded(figures)
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())
    return path


def read(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """The parts that have been measured, by name."""
    paths = {part: folder / f"{part}.json" for part in (*PARTS, INSTALL, CONVERSION)}
    return {part: json.loads(path.read_text("utf-8")) for part, path in paths.items() if path.is_file()}


def _rounded(value: Any) -> Any:
    """Six significant digits: more is noise, and makes large files."""
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {name: _rounded(item) for name, item in value.items()}
        case list() | tuple():
            return [_rounded(item) for item in value]
        case _:
            return value
