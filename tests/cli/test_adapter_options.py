"""`gesso generate --lora`: adapters from the command line, told of in words and in JSON."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cli_runs import Command
from gesso.core.adapter_text import adapter_text, parse_adapter
from gesso.core.requests import AdapterUse
from primer_edits import write_edit

SHORT = ("--steps", 2, "--seed", 3)


@pytest.fixture
def adapter(in_an_empty_folder: None) -> Path:
    return write_edit(Path("models"), "red", "blue")


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("anna", AdapterUse(name="anna")),
        ("anna:0.8", AdapterUse(name="anna", weight=0.8)),
        ("anna:-1:.5", AdapterUse(name="anna", weight=-1, text_encoder_weight=0.5)),
        ("anna@0.5-1", AdapterUse(name="anna", start=0.5, stop=1)),
        ("anna:2,mid_block=0", AdapterUse(name="anna", weight=2, blocks={"mid_block": 0})),
        (
            "people/anna:0.8:0@0-0.25,down_blocks.1=0.5,up_blocks=2",
            AdapterUse(
                name="people/anna",
                weight=0.8,
                text_encoder_weight=0,
                stop=0.25,
                blocks={"down_blocks.1": 0.5, "up_blocks": 2},
            ),
        ),
        ("C:\\loras\\anna v1.5, blue=new.safetensors", AdapterUse(name="C:\\loras\\anna v1.5, blue=new.safetensors")),
        ("C:\\loras\\anna.safetensors:0.5", AdapterUse(name="C:\\loras\\anna.safetensors", weight=0.5)),
        ("a@b:1", AdapterUse(name="a@b")),
    ],
)
def test_an_adapter_is_one_word(text: str, use: AdapterUse) -> None:
    assert parse_adapter(text) == use
    assert parse_adapter(adapter_text(use)) == use


def test_pictures_with_an_adapter_tell_of_it(command: Command, adapter: Path) -> None:
    ran = command("generate", "a red star", *SHORT, "--lora", "red-is-blue:0.5", "--out", "one.png", "--json")
    assert (ran.code, ran.err) == (0, "")
    (told,) = ran.data["adapters"]
    assert (told["name"], told["matched_keys"], told["ignored_keys"]) == ("red-is-blue", 42, 0)
    shown = command("show", "one.png").out
    assert "adapter    red-is-blue:0.5: LoRA on 14 layers of `unet`; 42 keys matched, 0 converted, 0 ignored" in shown
    assert "Lora hashes:" in shown


def test_a_picture_is_made_again_with_its_adapter_byte_for_byte(command: Command, adapter: Path) -> None:
    command("generate", "a red star", *SHORT, "--lora", f"{adapter}:0.7,mid_block=0.5", "--out", "one.png")
    command("generate", "a red star", *SHORT, "--out", "plain.png")
    again = command("generate", "--from", "one.png", "--out", "again.png", "--json").data["images"][0]
    first = command(
        "generate", "--from", "one.png", "--lora", f"{adapter}:0.7,mid_block=0.5", "--out", "2.png", "--json"
    )
    other = command("generate", "--from", "one.png", "--lora", f"{adapter}:0.1", "--out", "3.png", "--json")
    assert again["pixels_sha256"] == first.data["images"][0]["pixels_sha256"]
    assert again["pixels_sha256"] != other.data["images"][0]["pixels_sha256"]
    assert Path("again.png").read_bytes() != Path("plain.png").read_bytes()
    assert command("replay", "one.png").code == 0


def test_ignored_keys_are_a_warning_and_with_strict_an_error(command: Command, adapter: Path) -> None:
    tensors = load_file(adapter)
    save_file({**tensors, "lora_unet_nowhere.diff": torch.ones(2)}, "models/odd.safetensors")
    ran = command("generate", "a red star", *SHORT, "--lora", "odd", "--out", "one.png", "--json")
    assert ran.code == 0
    assert "warning: 1 of 43 keys of the adapter `odd` have no place in `primer` and are IGNORED" in ran.err
    assert "`lora_unet_nowhere.diff` (the model has no such layer)" in ran.err
    assert ran.data["adapters"][0]["ignored"] == {"lora_unet_nowhere.diff": "the model has no such layer"}
    strict = command("generate", "a red star", *SHORT, "--lora", "odd", "--strict", "--out", "two.png")
    assert strict.code == 3
    assert "are IGNORED" in strict.err
    assert not Path("two.png").exists()


def test_an_adapter_that_is_not_there_is_told_in_a_line(command: Command, adapter: Path) -> None:
    ran = command("generate", "a red star", *SHORT, "--lora", "red-is-blu")
    assert ran.code == 3
    assert "Unknown adapter: `red-is-blu`" in ran.err
    assert "nearest: red-is-blue" in ran.err


def test_a_word_without_a_name_is_told(command: Command) -> None:
    ran = command("generate", "a red star", "--lora", ":0.5")
    assert ran.code == 2
    assert "`--lora :0.5` is not understood" in ran.err
