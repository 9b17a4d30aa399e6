import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from gesso.core.errors import ModelError
from gesso.models.weight_files import find_weight_files
from gesso.models.weights import read_header, verify_file


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(5, dtype=torch.float16), "c": torch.tensor([True])}
    save_file(tensors, path, metadata={"format": "pt"})
    return path


def write(path: Path, header: Any, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_the_header_tells_what_the_file_holds(weights: Path) -> None:
    header = verify_file(weights)
    assert header is not None
    assert header.tensors["a"].shape == (2, 3)
    assert header.values == 12
    assert header.data_bytes == 6 * 4 + 5 * 2 + 1
    assert header.bytes_by_dtype() == {"F32": 24, "F16": 10, "BOOL": 1}


@given(kept=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_off_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, kept: float) -> None:
    path = tmp_path_factory.mktemp("cut") / "model.safetensors"
    save_file({"a": torch.zeros(40), "b": torch.ones(3)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ModelError, match=r"truncated|empty|not a safetensors") as caught:
        verify_file(path)
    assert str(path) in caught.value.message


def test_a_truncated_file_is_named_with_what_is_there_and_what_should_be(weights: Path) -> None:
    content = weights.read_bytes()
    weights.write_bytes(content[:-7])
    with pytest.raises(ModelError, match=rf"truncated: {len(content) - 7} of {len(content)} bytes"):
        verify_file(weights)


@pytest.mark.parametrize(
    ("entries", "size", "problem"),
    [
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, 12, "12 bytes|describes"),
        ({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, 8, "its shape needs 12"),
        ({"a": {"dtype": "F31", "shape": [2], "data_offsets": [0, 8]}}, 8, "unknown dtype `F31`"),
        ({"a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}}, 8, "leaves a gap"),
        ({n: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for n in "ab"}, 4, "overlaps"),
        ({"a": {"dtype": "U8", "shape": [-4], "data_offsets": [0, 4]}}, 4, "damaged"),
        ({"a": {"dtype": "U8", "shape": [4]}}, 4, "damaged"),
        ([1, 2], 0, "damaged"),
        (b'{"a": ', 0, "damaged"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, entries: Any, size: int, problem: str) -> None:
    path = write(tmp_path / "model.safetensors", entries, bytes(size))
    with pytest.raises(ModelError, match=problem):
        verify_file(path)


def test_a_header_longer_than_any_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(ModelError, match="not a safetensors file"):
        read_header(path)


def test_a_git_lfs_pointer_is_told_from_weights(tmp_path: Path) -> None:
    for name in ("model.safetensors", "pytorch_model.bin"):
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        with pytest.raises(ModelError, match="Git LFS pointer") as caught:
            verify_file(tmp_path / name)
        assert "git lfs pull" in (caught.value.hint or "")


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.safetensors` could not be read"):
        verify_file(tmp_path / "model.safetensors")


def test_a_pickle_is_checked_as_far_as_its_container_goes(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.zeros(1000)}, path)
    assert verify_file(path) is None
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ModelError, match="truncated"):
        verify_file(path)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelError, match="not a file of weights"):
        verify_file(path)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="empty"):
        verify_file(path)
    assert zipfile.is_zipfile(path) is False


def touch(folder: Path, *names: str) -> None:
    for name in names:
        content = json.dumps({"weight_map": {"a": name.split(".")[0] + "-1.safetensors"}}) if "index" in name else ""
        (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("library", "names", "chosen", "variant"),
    [
        ("diffusers", ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"], 0, None),
        ("diffusers", ["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin"], 0, "fp16"),
        ("diffusers", ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"], 0, None),
        (
            "diffusers",
            ["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.ema.safetensors"],
            0,
            "fp16",
        ),
        ("diffusers", ["diffusion_pytorch_model.non_ema.safetensors"], 0, "non_ema"),
        ("transformers", ["pytorch_model.bin", "flax_model.msgpack"], 0, None),
        ("transformers", ["model.safetensors", "pytorch_model.bin", "openvino_model.bin"], 0, None),
        ("stable_diffusion", ["model.safetensors"], 0, None),
    ],
)
def test_safetensors_go_before_pickles_and_plain_names_before_variants(
    tmp_path: Path, library: str, names: list[str], chosen: int, variant: str | None
) -> None:
    touch(tmp_path, *names)
    found = find_weight_files(tmp_path, library=library)
    assert found is not None
    assert found.files == (tmp_path / names[chosen],)
    assert found.variant == variant
    assert found.safe == names[chosen].endswith(".safetensors")


def test_an_index_stands_for_its_shards(tmp_path: Path) -> None:
    touch(tmp_path, "diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model-1.safetensors")
    found = find_weight_files(tmp_path, library="diffusers")
    assert found is not None
    assert found.files == (tmp_path / "diffusion_pytorch_model-1.safetensors",)
    assert found.index == tmp_path / "diffusion_pytorch_model.safetensors.index.json"


def test_a_shard_that_is_not_there_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "model.safetensors.index.json")
    with pytest.raises(ModelError, match=r"model-1\.safetensors` is missing"):
        find_weight_files(tmp_path, library="transformers")


def test_an_index_may_not_point_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../secret"}}))
    with pytest.raises(ModelError, match="not in its own folder"):
        find_weight_files(tmp_path, library="transformers")


def test_a_folder_without_weights_has_none(tmp_path: Path) -> None:
    touch(tmp_path, "config.json", "flax_model.msgpack")
    assert find_weight_files(tmp_path, library="transformers") is None
