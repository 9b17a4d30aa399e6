"""`python -m benchmarks.scanning [FILES]`: how long it takes to list many weight files, when they are new and when not.

Files are thin (a true header, and a hole for the data), so what is measured is listing, headers and index. A first scan
of a disk that turns, or of one on the network, takes far longer.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import load_average, machine
from gesso.core.settings import Settings
from gesso.models.store import ModelStore

_FOLDERS = 20
_WARM_REPEATS = 5


def run(count: int = 10_000) -> dict[str, object]:
    """Seconds of a first scan, of scans by fresh stores afterwards, and to find one file by name. JSON.

    Beside the seconds that passed are those that were computed: where others compute too, only these count.
    """
    with tempfile.TemporaryDirectory(prefix="gesso-bench-") as place:
        folder = Path(place)
        for number in range(count):
            _write(folder / "models" / "loras" / str(number % _FOLDERS) / f"{number:05d}.safetensors", number)
        settings = Settings(model_folders=(folder / "models",), cache_folder=folder / "cache")

        def scan() -> tuple[float, float]:
            store = ModelStore(settings, hub_cache=folder / "hub")
            begun, computed = time.perf_counter(), time.process_time()
            assert len(store.files()) == count
            return time.perf_counter() - begun, time.process_time() - computed

        cold = scan()
        warm = [scan() for _ in range(_WARM_REPEATS)]
        store = ModelStore(settings, hub_cache=folder / "hub")
        begun = time.perf_counter()
        store.find_file(f"{count // 2:05d}")
        found = time.perf_counter() - begun
        index_bytes = sum(path.stat().st_size for path in (folder / "cache").iterdir())
    return {
        "files": count,
        "first_scan_seconds": _median([cold]),
        "warm_scan_seconds": _median(warm),
        "find_by_name_seconds": round(found, 3),
        "load_average": load_average(),
        "index_bytes": index_bytes,
        "machine": machine(),
    }


def _median(runs: Sequence[tuple[float, float]]) -> dict[str, float]:
    passed, computed = zip(*runs, strict=True)
    return {"passed": round(statistics.median(passed), 3), "computed": round(statistics.median(computed), 3)}


def _write(path: Path, number: int) -> None:
    """A LoRA of SDXL with 24 layers, as kohya's trainer names them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header: dict[str, object] = {"__metadata__": {"modelspec.title": f"Number {number}", "ss_network_dim": "8"}}
    begin = 0
    for layer in range(24):
        name = f"lora_unet_input_blocks_4_1_transformer_blocks_{layer}_attn2_to_k"
        for part, shape in (("lora_down.weight", (8, 2048)), ("lora_up.weight", (640, 8)), ("alpha", ())):
            end = begin + 2 * (shape[0] * shape[1] if shape else 1)
            header[f"{name}.{part}"] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
            begin = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + begin)


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:2])), indent=2))
