"""`gesso models convert` and `--part`, as they are typed."""

import hashlib
from pathlib import Path

import zoo
from cli_runs import Command
from gesso.models.weights import read_header

STEPS = ("--steps", "1", "--seed", "1")


def test_the_primer_goes_to_a_file_and_back(command: Command, tmp_path: Path) -> None:
    run = command("models", "convert", "primer", tmp_path / "primer.safetensors")
    assert run.code == 0, run.err
    digest = hashlib.sha256((tmp_path / "primer.safetensors").read_bytes()).hexdigest()
    assert digest in run.out
    back = command("models", "convert", tmp_path / "primer.safetensors", tmp_path / "primer", "--json").data
    assert back["form"] == "folder"
    assert {Path(file["path"]).parent.name for file in back["files"]} == {"unet", "vae", "text_encoder"}
    for file in back["files"]:
        assert hashlib.sha256(Path(file["path"]).read_bytes()).hexdigest() == file["sha256"]
    half = command("models", "convert", tmp_path / "primer.safetensors", tmp_path / "half.ckpt", "--dtype", "bfloat16")
    assert half.code == 0, half.err


def test_a_file_and_a_part_paint_from_the_command_line(command: Command, tmp_path: Path) -> None:
    command("models", "convert", "primer", tmp_path / "one.safetensors")
    whole = command("generate", "a red circle", *STEPS, "--model", tmp_path / "one.safetensors", "--out", "a.png")
    assert whole.code == 0, whole.err
    part = ("--part", f"vae={tmp_path / 'one.safetensors'}")
    own = command("generate", "a red circle", *STEPS, "--model", "primer", *part, "--out", "b.png")
    assert own.code == 0, own.err


def test_wrong_words_are_told(command: Command, tmp_path: Path) -> None:
    for arguments, code, said in (
        (("primer", tmp_path / "x.safetensors", "--dtype", "float8"), 2, "`--dtype float8` is no format of weights"),
        (("primer", tmp_path / "x.pt"), 3, "which models are not converted to"),
        (("primer", tmp_path / "x.ckpt", "--part", "vae"), 2, "is not of the form KEY=VALUE"),
        (("primer", tmp_path / "x.ckpt", "--part", "voice=x"), 3, "There is no part `voice`"),
        ((zoo.saved("z-image"), tmp_path / "x.ckpt"), 3, "of which there are no single files"),
    ):
        run = command("models", "convert", *arguments)
        assert (run.code, said in run.err) == (code, True), run.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_any_kind_changes_its_container(command: Command, tmp_path: Path) -> None:
    source = zoo.saved("sd1") / "unet" / "diffusion_pytorch_model.safetensors"
    assert command("models", "convert", source, tmp_path / "unet.ckpt").code == 0
    assert command("models", "convert", tmp_path / "unet.ckpt", tmp_path / "unet.safetensors").code == 0
    assert read_header(tmp_path / "unet.safetensors").tensors.keys() == read_header(source).tensors.keys()
