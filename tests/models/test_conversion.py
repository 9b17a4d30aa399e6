"""Conversions there and back lose not a bit, or say what they would lose."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from gesso.core.errors import InputError, ModelError, StorageError
from gesso.models.folder import describe
from gesso.models.headers.read import read_weights_header
from gesso.models.single_files.assemble import describe_file
from gesso.models.single_files.convert import convert as converting
from gesso.models.single_files.convert.convert import convert_file, convert_model
from gesso.models.single_files.convert.numbers import bits, cast
from gesso.models.single_files.convert.safetensors import write_safetensors
from thin_models import THIN, thin_folder, weights_in


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def networks_in(folder: Path) -> dict[str, dict[str, bytes]]:
    return {path.parent.name: weights_in(path) for path in sorted(folder.rglob("*.safetensors"))}


_LIKE_OTHERS = ("sd3.5-large", "flux1-schnell")  # layers more or fewer of kinds that the others have


@pytest.mark.parametrize(
    "release", [pytest.param(name, marks=[pytest.mark.slow] if name in _LIKE_OTHERS else []) for name in THIN]
)
def test_from_folder_to_file_and_back_every_bit_is_the_same(release: str, tmp_path: Path, cache: Path) -> None:
    folder = thin_folder(release, tmp_path / "folder")
    convert_model(describe(folder), tmp_path / "one.safetensors", cache_folder=cache)
    convert_file(tmp_path / "one.safetensors", tmp_path / "two.ckpt")
    again = tmp_path / "again"
    convert_model(describe_file(tmp_path / "two.ckpt", cache_folder=cache), again, cache_folder=cache)
    assert networks_in(again) == networks_in(folder)
    assert {path.relative_to(again) for path in again.rglob("*.json")} == {
        path.relative_to(folder) for path in folder.rglob("*.json")
    }
    for path in folder.rglob("*.json"):
        assert json.loads((again / path.relative_to(folder)).read_text()) == json.loads(path.read_text())


def test_torch_reads_what_is_written_as_its_own(tmp_path: Path, cache: Path) -> None:
    folder = zoo.saved("sdxl")
    convert_model(describe(folder), tmp_path / "one.safetensors", cache_folder=cache)
    convert_model(describe(folder), tmp_path / "one.ckpt", cache_folder=cache)
    expected = load_file(tmp_path / "one.safetensors")
    for mapped in (False, True):
        state = torch.load(tmp_path / "one.ckpt", weights_only=True, mmap=mapped)["state_dict"]
        assert state.keys() == expected.keys()
        assert all(
            torch.equal(state[name], tensor) and tensor.dtype == state[name].dtype for name, tensor in expected.items()
        )
    pieces = load_file(folder / "text_encoder_2" / "model.safetensors")
    prefix = "conditioner.embedders.1.model"
    layer = "text_model.encoder.layers.0.self_attn"
    fused = torch.cat([pieces[f"{layer}.{name}_proj.weight"] for name in "qkv"])
    assert torch.equal(expected[f"{prefix}.transformer.resblocks.0.attn.in_proj_weight"], fused)
    assert torch.equal(expected[f"{prefix}.text_projection"], pieces["text_projection.weight"].T)
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")[
        "decoder.mid_block.attentions.0.to_q.weight"
    ]
    assert torch.equal(expected["first_stage_model.decoder.mid.attn_1.q.weight"], vae[:, :, None, None])


def test_shards_are_merged(tmp_path: Path, cache: Path) -> None:
    folder = Path(shutil.copytree(zoo.saved("sd1"), tmp_path / "folder"))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    zoo.built("sd1").unet.save_pretrained(folder / "unet", max_shard_size="100KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 2
    convert_model(describe(folder), tmp_path / "merged.safetensors", cache_folder=cache)
    convert_model(describe(zoo.saved("sd1")), tmp_path / "whole.safetensors", cache_folder=cache)
    assert weights_in(tmp_path / "merged.safetensors") == weights_in(tmp_path / "whole.safetensors")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_weights_are_rounded_as_torch_rounds(dtype: str, tmp_path: Path) -> None:
    values = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
    wanted = getattr(torch, dtype)
    for stored in values.values():
        tensor = (torch.randn(50_000, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 30).to(stored)
        save_file({"weight": tensor, "steps": torch.tensor([7])}, tmp_path / "some.safetensors")
        (tmp_path / "cast.safetensors").unlink(missing_ok=True)
        convert_file(tmp_path / "some.safetensors", tmp_path / "cast.safetensors", dtype=dtype)
        made = load_file(tmp_path / "cast.safetensors")
        assert made["weight"].dtype == wanted
        assert torch.equal(made["weight"], tensor.to(wanted))
        assert made["steps"].tolist() == [7]


@pytest.mark.parametrize(
    ("name", "kind"), [("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)], ids=["e4m3", "e5m2"]
)
def test_every_float8_is_read(name: str, kind: torch.dtype) -> None:
    codes = bytes(range(256))
    ours = cast(bits(codes, name), name, "F32").view(np.float32)
    theirs = torch.frombuffer(bytearray(codes), dtype=torch.uint8).view(kind).float().numpy()
    np.testing.assert_array_equal(ours, theirs)


def test_the_file_says_what_it_is(tmp_path: Path, cache: Path) -> None:
    convert_model(describe(thin_folder("sd2", tmp_path / "folder")), tmp_path / "v.safetensors", cache_folder=cache)
    metadata = read_weights_header(tmp_path / "v.safetensors").metadata
    assert metadata["modelspec.sai_model_spec"] == "1.0.1"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v2-768-v"
    assert metadata["modelspec.prediction_type"] == "v"
    assert metadata["modelspec.resolution"] == "768x768"
    assert metadata["modelspec.title"] == "folder"


def test_the_same_model_is_the_same_file(tmp_path: Path, cache: Path) -> None:
    for ending in ("safetensors", "ckpt"):
        first = convert_model(describe(zoo.saved("sd1")), tmp_path / f"one.{ending}", cache_folder=cache)
        second = convert_model(describe(zoo.saved("sd1")), tmp_path / f"two.{ending}", cache_folder=cache)
        assert first.files[0].sha256 == second.files[0].sha256
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "cache")


def spoilt(path: Path, **tensors: torch.Tensor | None) -> Path:
    content = {name: tensor.clone() for name, tensor in load_file(path).items()}
    content |= {name: tensor for name, tensor in tensors.items() if tensor is not None}
    for name in [name for name, tensor in tensors.items() if tensor is None]:
        del content[name]
    save_file(content, path, metadata={"format": "pt"})
    return path


REFUSALS = {
    "a tensor that no network has": (
        "unet/diffusion_pytorch_model.safetensors",
        {"adapter.weight": torch.ones(2)},
        "no place for: `adapter.weight`",
    ),
    "a tensor that is missing": (
        "vae/diffusion_pytorch_model.safetensors",
        {"encoder.conv_out.bias": None},
        "`encoder.conv_out.bias`",
    ),
    "a value that is no number": (
        "text_encoder/model.safetensors",
        {"final_layer_norm.bias": torch.full((32,), float("nan"))},
        "`final_layer_norm.bias`",
    ),
    "a tensor of another shape": (
        "unet/diffusion_pytorch_model.safetensors",
        {"conv_out.bias": torch.zeros(9)},
        "`conv_out.bias`",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_would_be_lost_or_wrong_is_named_and_nothing_is_left(case: str, tmp_path: Path, cache: Path) -> None:
    file, changes, said = REFUSALS[case]
    folder = Path(shutil.copytree(zoo.saved("sd1"), tmp_path / "folder"))
    spoilt(folder / file, **changes)
    for name in ("one.safetensors", "one.ckpt", "other"):
        with pytest.raises(ModelError) as caught:
            convert_model(describe(folder), tmp_path / name, cache_folder=cache)
        assert said in caught.value.message
    assert left_in(tmp_path) == ["folder"]


def test_a_left_over_tensor_of_a_single_file_is_named(tmp_path: Path, cache: Path) -> None:
    convert_model(describe(zoo.saved("sd1")), tmp_path / "one.safetensors", cache_folder=cache)
    header = read_weights_header(tmp_path / "one.safetensors")
    content = load_file(tmp_path / "one.safetensors") | {"model_ema.decay": torch.ones(1), "betas": torch.ones(3)}
    save_file(content, tmp_path / "more.safetensors", metadata=dict(header.metadata))
    convert_model(
        describe_file(tmp_path / "more.safetensors", cache_folder=cache), tmp_path / "fine", cache_folder=cache
    )
    content["control_model.zero.weight"] = torch.ones(1)
    save_file(content, tmp_path / "most.safetensors", metadata=dict(header.metadata))
    with pytest.raises(ModelError, match=r"`control_model\.zero\.weight`"):
        convert_model(
            describe_file(tmp_path / "most.safetensors", cache_folder=cache), tmp_path / "not", cache_folder=cache
        )
    assert not (tmp_path / "not").exists()


def test_values_too_large_for_the_format_are_named(tmp_path: Path) -> None:
    save_file({"fine": torch.ones(3), "large": torch.tensor([1e5])}, tmp_path / "some.safetensors")
    with pytest.raises(ModelError, match="`large` holds values that are too large for float16") as caught:
        convert_file(tmp_path / "some.safetensors", tmp_path / "half.ckpt", dtype="float16")
    assert caught.value.hint == "use `--dtype bfloat16`"
    assert left_in(tmp_path) == ["some.safetensors"]


def test_a_tensor_out_of_order_is_put_in_order(tmp_path: Path) -> None:
    matrix = torch.arange(12.0).reshape(3, 4)
    torch.save({"state_dict": {"turned": matrix.T, "part": matrix[1:, 1:], "plain": matrix}}, tmp_path / "some.ckpt")
    convert_file(tmp_path / "some.ckpt", tmp_path / "some.safetensors")
    made = load_file(tmp_path / "some.safetensors")
    assert torch.equal(made["turned"], matrix.T)
    assert torch.equal(made["part"], matrix[1:, 1:])
    assert torch.equal(made["plain"], matrix)


def test_a_pickle_with_code_is_not_converted(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("never",))

    torch.save({"state_dict": {"weight": torch.ones(2)}, "more": Evil()}, tmp_path / "evil.ckpt", pickle_module=pickle)
    with pytest.raises(ModelError, match="print"):
        convert_file(tmp_path / "evil.ckpt", tmp_path / "good.safetensors")


def test_other_files_only_change_their_container(tmp_path: Path) -> None:
    lora = {"lora_unet_a.lora_up.weight": torch.ones(4, 2), "lora_unet_a.alpha": torch.tensor(2.0)}
    save_file(lora, tmp_path / "lora.safetensors", metadata={"ss_network_dim": "2"})
    convert_file(tmp_path / "lora.safetensors", tmp_path / "lora.ckpt")
    convert_file(tmp_path / "lora.ckpt", tmp_path / "back.safetensors")
    assert weights_in(tmp_path / "back.safetensors") == weights_in(tmp_path / "lora.safetensors")
    assert read_weights_header(tmp_path / "back.safetensors").metadata["ss_network_dim"] == "2"


def test_what_is_there_is_not_overwritten(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "one.safetensors").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        convert_model(describe(zoo.saved("sd1")), tmp_path / "one.safetensors", cache_folder=cache)
    assert (tmp_path / "one.safetensors").read_text() == "mine"


@pytest.mark.parametrize("name", ["one.pt", "one.bin", "one.gguf"])
def test_other_endings_are_refused(name: str, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(InputError, match="which models are not converted to"):
        convert_model(describe(zoo.saved("sd1")), tmp_path / name, cache_folder=cache)


def test_room_on_the_disk_is_asked_before(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(100, 99, 1)  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageError, match="free on that disk"):
        convert_model(describe(zoo.saved("sd1")), tmp_path / "one.safetensors", cache_folder=cache)
    assert left_in(tmp_path) == []


def test_a_model_of_which_there_are_no_single_files_is_refused(tmp_path: Path, cache: Path) -> None:
    for kind in ("pixart", "z-image", "sd2"):  # the thin SD 2 has a layer that only diffusers knows
        with pytest.raises(ModelError):
            convert_model(describe(zoo.saved(kind)), tmp_path / "one.safetensors", cache_folder=cache)
    assert left_in(tmp_path) == []


def test_a_disk_that_reads_otherwise_than_it_wrote_is_noticed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = write_safetensors

    def spoiling(file, tensors, contents, metadata):  # pyright: ignore[reportMissingParameterType]
        write(file, tensors, contents, metadata)
        file.seek(-3, 2)
        file.write(b"?")

    monkeypatch.setattr(converting, "write_safetensors", spoiling)
    with pytest.raises(ModelError, match="reads otherwise than it was written"):
        convert_model(describe(zoo.saved("sd1")), tmp_path / "one.safetensors", cache_folder=cache)
    assert left_in(tmp_path) == []
