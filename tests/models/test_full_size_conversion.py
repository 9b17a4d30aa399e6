"""Models as large as the released ones, there and back, in little memory."""

import hashlib
from pathlib import Path

import pytest

from benchmarks.conversion import allowed_bytes, measured
from benchmarks.random_models import write_random_folder
from gesso.models.headers.places import Place, places_of


def digests(folder: Path) -> dict[str, str]:
    """Of the bytes of each tensor in a folder; formats and shapes among them."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.safetensors")):
        with path.open("rb") as file:
            for name, place in places_of(path).items():
                file.seek(place.begin)
                said = hashlib.sha256(repr(place.tensor).encode())
                said.update(file.read(size_of(place)))
                found[f"{path.parent.name}/{name}"] = said.hexdigest()
    return found


def size_of(place: Place) -> int:
    return place.tensor.values * 2  # all are float16


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_full_size_model_comes_back_as_it_was_in_little_memory(family: str, tmp_path: Path) -> None:
    folder = write_random_folder(family, tmp_path / "folder")
    expected = digests(folder)
    allowed = allowed_bytes(
        max(size_of(place) for path in folder.rglob("*.safetensors") for place in places_of(path).values())
    )
    ways = [(folder, "one.safetensors"), (tmp_path / "one.safetensors", "two.ckpt"), (tmp_path / "two.ckpt", "again")]
    for source, made in ways:
        took = measured(source, tmp_path / made)
        assert took["peak_bytes"] < allowed
        assert took["check_peak_bytes"] < allowed + 100_000_000  # torch and both libraries, and no weights
        if source != folder:
            source.unlink()  # only one copy and its source are on the disk at a time
    assert digests(tmp_path / "again") == expected
