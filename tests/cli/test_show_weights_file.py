"""`gesso models show FILE`: what a file is and why, for people and for programs; a bad one is told in a line."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cli_runs import Command
from gesso.primer import weights_folder
from specimens import SPECIMENS

FACTS = {
    "modelspec.title": "Watercolours",
    "modelspec.author": "Somebody",
    "modelspec.license": "CC0-1.0",
    "modelspec.trigger_phrase": "wtrclr",
    "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
    "ss_sd_model_name": "sd_xl_base_1.0.safetensors",
}


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return replace(SPECIMENS["lora of sdxl, kohya"], metadata=FACTS).write(tmp_path)


def test_a_file_is_told_to_people_with_its_evidence(command: Command, lora: Path) -> None:
    ran = command("models", "show", lora)
    assert ran.code == 0
    assert ran.err == ""
    for words in (
        "family     sdxl",
        "algorithm  LoRA",
        "rank       8",
        "dtype      float16",
        "weights    21,505 in 3 tensors, 42.",
        "title      Watercolours",
        "licence    CC0-1.0",
        "words      wtrclr",
        "base       sd_xl_base_1.0.safetensors",
        "attn2_to_k.lora_down.weight`: its layer reads 2048 features",
    ):
        assert words in ran.out


def test_a_file_is_told_to_programs(command: Command, lora: Path) -> None:
    data = command("models", "show", lora, "--json").data
    assert {name: data[name] for name in ("kind", "family", "algorithm", "ranks", "layout", "format", "tensors")} == {
        "kind": "lora",
        "family": "sdxl",
        "algorithm": "LoRA",
        "ranks": [8],
        "layout": "kohya",
        "format": "safetensors",
        "tensors": 3,
    }
    assert data["bytes"] == lora.stat().st_size
    assert data["dtypes"] == {"float16": data["parameters"]}
    assert (data["license"], data["trained_words"]) == ("CC0-1.0", ["wtrclr"])
    assert {"about": "kind", "value": "lora", "guess": False} in [
        {name: entry[name] for name in ("about", "value", "guess")} for entry in data["evidence"]
    ]


def test_guesses_are_called_so(command: Command, tmp_path: Path) -> None:
    ran = command("models", "show", SPECIMENS["sd2 checkpoint"].write(tmp_path))
    assert "prediction  v_prediction (a guess)" in ran.out
    assert "nothing in the file tells them apart" in ran.out


def test_the_networks_of_the_primer_are_known_one_by_one(command: Command) -> None:
    folder = weights_folder()
    kinds = {
        part: command("models", "show", next((folder / part).glob("*.safetensors")), "--json").data["kind"]
        for part in ("unet", "vae", "text_encoder")
    }
    assert kinds == {"unet": "denoiser", "vae": "vae", "text_encoder": "text encoder"}


def test_names_of_models_go_before_names_of_files(command: Command) -> None:
    Path("primer").write_text("a file of that name")
    assert command("models", "show", "primer", "--json").data["family"] == "sd1"
    assert command("models", "show", "./primer").code == 3


@pytest.mark.rough(
    "models",
    tried="a file of weights that is cut off, lies about its offsets, or is a web page, a pointer or a bomb",
    happens="refused before anything is loaded, exit code 3",
    told="one line with what was found, and what to do",
)
def test_bad_files_are_told_in_one_line_and_a_hint(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    whole = SPECIMENS["vae of 4 channels"].write(tmp_path).read_bytes()
    for content, told in (
        (whole[:-1], f"error: `{path}` is truncated: "),
        (whole.replace(b"F16", b"F32", 1), f"error: `encoder.conv_in.weight` in `{path}` has "),
        (b"<!doctype html><title>Sign in</title>", f"error: `{path}` is not a file of weights: a web page\nhint: "),
        (b"version https://git-lfs.github.com/spec/v1\n", f"error: `{path}` is not a file of weights: a Git LFS"),
        (b"", f"error: `{path}` is empty\nhint: "),
    ):
        path.write_bytes(content)
        ran = command("models", "show", path)
        assert ran.code == 3
        assert ran.out == ""
        assert ran.err.startswith(told)
        assert ran.err.count("\n") == 2


@pytest.mark.rough(
    "models",
    tried="a `.ckpt` that names a function of the system",
    happens="refused, and never unpickled; exit code 3",
    told="the name of the function, and the advice not to load it",
)
def test_a_pickle_with_code_is_refused_by_the_name_of_what_it_calls(command: Command, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "was-here"),)

    torch.save({"state_dict": {"a": torch.zeros(2)}, "callback": Attack()}, tmp_path / "model.ckpt")
    ran = command("models", "show", tmp_path / "model.ckpt")
    assert ran.code == 3
    assert f"names `{os.mkdir.__module__}.mkdir`, which weights do not need" in ran.err
    assert not (tmp_path / "was-here").exists()


def test_a_file_that_may_not_be_read_is_told_with_the_reason(
    command: Command, lora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", str(lora))

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    ran = command("models", "show", lora)
    assert ran.code == 3
    assert ran.err.startswith(f"error: `{lora}` could not be read: Permission denied\nhint: ")


def test_a_folder_without_an_index_is_no_model(command: Command, tmp_path: Path) -> None:
    ran = command("models", "show", tmp_path)
    assert ran.code == 3
    assert ran.err.startswith(f"error: `{tmp_path}` is not a model folder: it has no `model_index.json`\nhint: ")


def test_hostile_names_reach_no_terminal(command: Command, tmp_path: Path) -> None:
    header = {"a\n\x1b[2J.weight": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    text = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + b"\0")
    ran = command("models", "show", tmp_path / "x")
    assert ran.code == 0
    assert "\x1b" not in ran.out


def test_a_folder_of_a_model_is_shown_as_before(command: Command) -> None:
    shutil.copytree(weights_folder(), "mine")
    assert command("models", "show", "mine", "--json").data["pipeline"] == "StableDiffusionPipeline"
