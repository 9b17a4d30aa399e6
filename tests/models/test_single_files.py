"""A file of weights is described as the model that it is, from its header and from what the package knows of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import zoo
from gesso.core.errors import ModelError
from gesso.models.folder import ModelDescription, describe
from gesso.models.headers.read import read_weights_header
from gesso.models.single_files.assemble import describe_file, describe_with_parts
from gesso.models.single_files.convert.convert import convert_model
from gesso.models.single_files.embedded import KEY, embed, embedded
from gesso.models.single_files.known_models import known_models, vocabulary_files
from specimens.base import write_safetensors
from thin_models import FULL, original_shapes


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def one_file(tmp_path: Path, cache: Path) -> Path:
    """A thin SDXL."""
    path = tmp_path / "one.safetensors"
    convert_model(describe(zoo.saved("sdxl")), path, cache_folder=cache)
    return path


def without(path: Path, *prefixes: str, **metadata: str) -> Path:
    """The file beside it that lacks what begins so."""
    content = {name: tensor for name, tensor in load_file(path).items() if not name.startswith(prefixes)}
    other = path.with_name(f"less-{path.name}")
    save_file(content, other, metadata=dict(read_weights_header(path).metadata) | metadata)
    return other


@pytest.mark.parametrize("release", FULL)
def test_a_released_file_is_understood_from_its_tensors_alone(release: str, tmp_path: Path, cache: Path) -> None:
    family, changes = FULL[release]
    path = write_safetensors(tmp_path / "some.safetensors", original_shapes(release))
    if family in ("sd3", "flux1") and not vocabulary_files("t5"):
        tokenizer = "tokenizer_3" if family == "sd3" else "tokenizer_2"
        with pytest.raises(ModelError, match="needs the vocabulary of T5"):
            describe_file(path, cache_folder=cache)
        parts = {tokenizer: str(zoo.saved("sd3") / "tokenizer_3")}
    else:
        parts = {}
    model = describe_file(path, cache_folder=cache, parts=parts)
    known = known_models()[family]
    assert model.pipeline_class == known.pipeline
    assert model.name == "some"
    for name in known.prefixes:
        expected = {**known.parts[name].config, **changes.get(name, {})}
        found = model.components[name].config
        assert {key: found.get(key) for key in expected} == expected
    assert model.weight_bytes == read_weights_header(path).values * 2
    shift = {"flux1-dev": 3.0, "flux1-schnell": 1.0, "sd3-medium": 3.0}
    if release in shift:
        assert model.scheduler_config["shift"] == shift[release]


@pytest.mark.parametrize(
    ("metadata", "prediction", "size", "told"),
    [
        ({}, "v_prediction", 768, True),
        ({"modelspec.prediction_type": "v"}, "v_prediction", 768, False),
        ({"modelspec.prediction_type": "epsilon"}, "epsilon", 512, False),
    ],
    ids=["guessed", "v", "epsilon"],
)
def test_what_sd2_predicts_is_read_or_said_to_be_a_guess(
    metadata: dict[str, str], prediction: str, size: int, told: bool, tmp_path: Path, cache: Path
) -> None:
    shapes = original_shapes("sd2")
    shapes |= {"cond_stage_model.model.transformer.resblocks.23.ln_1.weight": (1024,)}
    shapes |= {"cond_stage_model.model.text_projection": (1024, 1024), "betas": (1000,)}
    model = describe_file(write_safetensors(tmp_path / "some.ckpt", shapes, metadata), cache_folder=cache)
    assert model.scheduler_config["prediction_type"] == prediction
    assert model.default_size_px == (size, size)
    assert model.components["text_encoder"].config["num_hidden_layers"] == 23
    assert any("is a guess" in note for note in model.notes) == told
    assert not any("no network takes" in note for note in model.notes)


def test_v_prediction_with_a_terminal_snr_of_zero_is_sampled_so(tmp_path: Path, cache: Path) -> None:
    shapes: dict[str, tuple[int, ...]] = {**original_shapes("sdxl"), "v_pred": (), "ztsnr": ()}
    config = describe_file(write_safetensors(tmp_path / "v.safetensors", shapes), cache_folder=cache).scheduler_config
    assert config["prediction_type"] == "v_prediction"
    assert config["rescale_betas_zero_snr"] is True
    assert config["timestep_spacing"] == "trailing"


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        (("conditioner.",), "it lacks `text_encoder` (CLIP), `text_encoder_2` (CLIP with its projection)"),
        (("first_stage_model.",), "it lacks `vae` (a VAE)"),
        (
            ("first_stage_model.", "conditioner.embedders.1."),
            "it lacks `text_encoder_2` (CLIP with its projection), `vae` (a VAE)",
        ),
    ],
    ids=["text encoders", "vae", "both"],
)
def test_missing_networks_are_named_in_one_line(lacks: tuple[str, ...], said: str, one_file: Path, cache: Path) -> None:
    with pytest.raises(ModelError) as caught:
        describe_file(without(one_file, *lacks), cache_folder=cache)
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint is not None
    assert "--part " in caught.value.hint


def test_a_network_that_is_not_whole_is_named_with_what_it_lacks(one_file: Path, cache: Path) -> None:
    with pytest.raises(ModelError, match=r"lacks 1 of the tensors of its `vae`: `first_stage_model\.decoder\.conv_in"):
        describe_file(without(one_file, "first_stage_model.decoder.conv_in.bias"), cache_folder=cache)


def test_parts_are_taken_from_checkpoints_files_and_folders(one_file: Path, tmp_path: Path, cache: Path) -> None:
    vae = {
        key.removeprefix("first_stage_model."): tensor
        for key, tensor in load_file(one_file).items()
        if key.startswith("first")
    }
    save_file(vae, tmp_path / "vae.safetensors")
    parts = {
        "vae": str(tmp_path / "vae.safetensors"),
        "text_encoder": str(one_file),
        "text_encoder_2": str(zoo.saved("sdxl") / "text_encoder_2"),
    }
    model = describe_file(without(one_file, "first_stage_model.", "conditioner."), cache_folder=cache, parts=parts)
    whole = describe_file(one_file, cache_folder=cache)
    assert model.components.keys() == whole.components.keys()
    assert model.weight_bytes == whole.weight_bytes
    assert [path.name for path in model.components["vae"].weight_files] == ["vae.safetensors"]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"vae": "{zoo}/text_encoder/model.safetensors"}, "holds no VAE, asked for as `vae`"),
        ({"vae": "{zoo}/unet"}, "holds a `UNet2DConditionModel`, and `vae` is a `AutoencoderKL`"),
        ({"voice": "{zoo}/vae"}, "There is no part `voice`"),
        ({"vae": "{zoo}/nothing.safetensors"}, "There is no file or folder"),
        ({"tokenizer": "{zoo}/vae/config.json"}, "is no folder, asked for as `tokenizer`"),
    ],
    ids=["another network", "another folder", "no such part", "no such file", "a file of a vocabulary"],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, str], said: str, cache: Path) -> None:
    folder = zoo.saved("sdxl")
    places = {name: place.format(zoo=folder) for name, place in parts.items()}
    with pytest.raises(ModelError) as caught:
        describe_with_parts(describe(folder), places, cache_folder=cache)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"lora_unet_a.lora_up.weight": (4, 2), "lora_unet_a.lora_down.weight": (2, 4)}, "is a lora, and not a model"),
        (
            {"encoder.conv_in.weight": (8, 3, 3, 3), "decoder.conv_in.weight": (8, 4, 3, 3)}
            | {"decoder.mid.block_1.conv1.weight": (8, 8, 3, 3)},
            "is a vae, and not a model",
        ),
        ({"something": (1,)}, "Nothing that is known fits"),
        (
            {"cap_pad_token": (1, 8), "layers.0.attention.qkv.weight": (24, 8)},
            "is a denoiser of z-image, and single files are loaded of sd1, sd2, sdxl, sdxl-refiner, sd3, flux1",
        ),
    ],
    ids=["adapter", "vae", "unknown", "another family"],
)
def test_what_is_no_model_is_refused_by_what_it_is(
    tensors: dict[str, tuple[int, ...]], said: str, tmp_path: Path, cache: Path
) -> None:
    with pytest.raises(ModelError) as caught:
        describe_file(write_safetensors(tmp_path / "some.safetensors", tensors), cache_folder=cache)
    assert said in caught.value.message


def test_the_small_files_in_the_metadata_come_out_as_they_were() -> None:
    files = {"model_index.json": b"{}", "tokenizer/spiece.model": bytes(range(256))}
    assert embedded(Path("some"), {KEY: embed(files)}) == files


@pytest.mark.parametrize(
    "entries",
    [
        {"../model_index.json": "{}"},
        {"/etc/model.json": "{}"},
        {"unet/code.py": "print()"},
        {"a/b/c.json": "{}"},
        {"unet/config.json": {"base64": "?"}},
        {"unet/config.json": 3},
        [],
    ],
    ids=repr,
)
def test_small_files_that_lie_are_refused(entries: Any) -> None:
    with pytest.raises(ModelError, match="is damaged"):
        embedded(Path("some"), {KEY: json.dumps(entries)})


def test_code_is_not_taken_from_metadata(one_file: Path, cache: Path) -> None:
    files = dict(embedded(one_file, read_weights_header(one_file).metadata) or {})
    index = json.loads(files["model_index.json"]) | {"unet": ["my_code", "Unet"]}
    files["model_index.json"] = json.dumps(index).encode()
    with pytest.raises(ModelError, match="names code of `my_code`"):
        describe_file(without(one_file, **{KEY: embed(files)}), cache_folder=cache)


def test_the_small_files_are_put_back_when_somebody_took_one(one_file: Path, cache: Path) -> None:
    model: ModelDescription = describe_file(one_file, cache_folder=cache)
    (model.config_folder / "unet" / "config.json").unlink()
    assert describe_file(one_file, cache_folder=cache) == model
    assert (model.config_folder / "unet" / "config.json").is_file()


def test_the_vocabulary_in_the_package_is_that_of_clip() -> None:
    """As OpenAI's code makes it: all bytes, all bytes at a word's end, the merges, begin and end."""
    files = vocabulary_files("clip")
    vocabulary = json.loads(files["vocab.json"])
    merges = [tuple(line.split()) for line in files["merges.txt"].decode().splitlines()[1:] if line]
    assert len(vocabulary) == 49408
    assert sorted(vocabulary.values()) == list(range(49408))
    assert [vocabulary["".join(merge)] for merge in merges] == list(range(512, 49406))
    assert (vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]) == (49406, 49407)
    assert (vocabulary["!"], vocabulary["a</w>"]) == (0, 320)
