"""What the conversion of a full-size SDXL takes: memory, seconds, bytes. The weights are random float16."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.memory import PROC
from benchmarks.progress import tell

_ROOT = Path(__file__).parents[1]
_FAMILY = "sdxl"
_WAYS = {
    "folder → .safetensors": ("folder", "model.safetensors"),
    ".safetensors → .ckpt": ("model.safetensors", "model.ckpt"),
    ".ckpt → folder": ("model.ckpt", "again"),
}


def run(*, family: str = _FAMILY, place: Path | None = None) -> dict[str, Any]:
    """Convert there and back, each way in a process of its own. JSON. Needs some 30 GB of disk, which it gives back."""
    from benchmarks.random_models import write_random_folder  # with torch, which no conversion needs

    with tempfile.TemporaryDirectory(prefix="gesso-conversion-", dir=place) as name:
        folder = Path(name)
        tell(f"conversion: writing a {family} of random weights")
        write_random_folder(family, folder / "folder")
        weights = list((folder / "folder").rglob("*.safetensors"))
        return {
            "family": family,
            "weight_bytes": sum(path.stat().st_size for path in weights),
            "largest_tensor_bytes": max(_largest(path) for path in weights),
            "ways": {way: _convert(way, folder / source, folder / made) for way, (source, made) in _WAYS.items()},
        }


def allowed_bytes(largest_tensor_bytes: int) -> int:
    """What a conversion may take at most: 1.3 times the largest tensor and 300 MB."""
    return int(1.3 * largest_tensor_bytes) + 300_000_000


def measured(source: Path, destination: Path, options: Sequence[str] = ()) -> dict[str, Any]:
    """Run `gesso models convert` in a process of its own, and what it took.

    Returns:
        Peaks of resident memory: of the conversion, and of the process that builds the networks for the last check.
    """
    command = [sys.executable, "-m", "benchmarks.conversion", str(source), str(destination), *options]
    begun = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))}
    said = subprocess.run(command, capture_output=True, text=True, env=environment)
    if said.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed: {said.stderr[-2000:]}")
    return json.loads(said.stdout.splitlines()[-1]) | {"seconds": time.perf_counter() - begun}


def _convert(way: str, source: Path, destination: Path) -> dict[str, Any]:
    tell(f"conversion: {way}")
    return measured(source, destination)


def _largest(path: Path) -> int:
    from gesso.models.weights import read_header

    return max(tensor.end - tensor.begin for tensor in read_header(path).tensors.values())


def _main(arguments: list[str]) -> None:
    """The command, and then one line about this process."""
    import resource

    from gesso.cli.app import app

    app(["models", "convert", *arguments], standalone_mode=False)
    peak = next(line for line in (PROC / "self" / "status").read_text().splitlines() if line.startswith("VmHWM"))
    check = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({"peak_bytes": int(peak.split()[1]) * 1024, "check_peak_bytes": check * 1024}))


if __name__ == "__main__":
    _main(sys.argv[1:])
