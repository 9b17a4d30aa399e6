"""What a careless or hostile user sees at the shell: one line, a hint, the right exit code, and nothing left behind.

Where a process of its own would show nothing more, the command runs in this one, which is ten times as fast.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

import disks
import zoo
from cli_runs import Command, Ran

SHORT = ("--steps", 2, "--size", "64x64", "--seed", 1)


def assert_told(ran: Ran, code: int, *words: str) -> None:
    """An error and a hint of one line each with `words` in them, nothing on stdout."""
    assert (ran.code, ran.out) == (code, ""), ran.err
    error, hint = ran.err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert "internal" not in error
    for word in words:
        assert word in ran.err


def left_behind() -> list[str]:
    """Everything in the current folder, hidden files and empty folders too."""
    return sorted(str(path) for path in Path().rglob("*"))


# --- settings


@pytest.mark.rough(
    "settings",
    tried="a `gesso.toml` that is not UTF-8, not TOML, 5,000 brackets deep; unknown keys; 0, 3, NUL, `..` "
    "where they cannot be",
    happens="the file, the key and what was found are named",
    told="exit 2, one line and a hint",
)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", ("gesso.toml` is not a TOML file", "mend the file")),
        (b"[model\n", ("gesso.toml` is not a TOML file", "line 1")),
        (b"model = " + b"[" * 5000, ("gesso.toml` is not a TOML file",)),
        (b"modle = 'primer'", ("Unknown setting `modle`", "gesso.toml", "nearest: model")),
        (b"max_rows = 'many'", ("`max_rows` is not usable", "found `many`", "it is set by", "gesso.toml")),
        (b"max_rows = 0", ("`max_rows` is not usable", "greater than or equal to 1", "found `0`")),
        (b"exact_rows = 3", ("`exact_rows` is not usable: must be a power of two (found `3`)",)),
        (b"model_folders = [1]", ("`model_folders[0]` is not usable", "found `1`")),
        (b"precision = 'double'", ("`precision` is not usable", "'float32', 'bfloat16' or 'float16'")),
        (b"output_pattern = '../{seed}'", ("must stay inside the output folder",)),
        (b"output_pattern = '{brush}'", ("fields are date, number, seed, index, model", "brush")),
        (b"output_pattern = '{seed.x}'", ("fields are date, number, seed, index, model",)),
        (b'output_pattern = "a\\u0000b"', ("a name that a file can have",)),
    ],
)
def test_a_settings_file_that_is_wrong_is_named(process: Command, content: bytes, words: tuple[str, ...]) -> None:
    Path("gesso.toml").write_bytes(content)
    assert_told(process("models", "list"), 2, *words)


@pytest.mark.rough(
    "settings",
    tried="`GESSO_*` with words for numbers, 99999999999 threads, text for JSON, unknown names",
    happens="the variable and what was found are named",
    told="exit 2, one line and a hint",
)
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("GESSO_THREADS", "banana", ("`threads` is not usable", "found `banana`", "variable `GESSO_THREADS`")),
        ("GESSO_THREADS", "99999999999", ("`threads` is not usable", "1024")),
        ("GESSO_EXACT", "perhaps", ("`exact` is not usable", "found `perhaps`", "`GESSO_EXACT`")),
        (
            "GESSO_MODEL_FOLDERS",
            "/models",
            ("`model_folders`", "`GESSO_MODEL_FOLDERS` holds no JSON", '["one", "two"]'),
        ),
        ("GESSO_STEPZ", "3", ("Unknown setting `stepz` in environment variable `GESSO_STEPZ`",)),
    ],
)
def test_an_environment_variable_that_is_wrong_is_named(
    process: Command, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv(name, value)
    assert_told(process("models", "list"), 2, *words)


@pytest.mark.rough(
    "settings",
    tried="model folders that are a device, a name of 300 letters, a NUL, the home of nobody",
    happens="they hold no models",
    told="exit 0",
)
def test_folders_of_models_that_cannot_be_read_hold_no_models(
    process: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GESSO_MODEL_FOLDERS", f'["/dev/null", "{"x" * 300}", "a\\u0000b", "~nobody-of-that-name"]')
    ran = process("models", "list", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert [model["name"] for model in ran.data] == ["primer"]


# --- the command line


@pytest.mark.rough(
    "names",
    tried="`--out` into a file or a name too long, 9,000 brackets, 5,000 digits, NaN; pictures "
    "that are text, cut, empty, without a word",
    happens="told before any work, and nothing is made",
    told="exit 2, 3 or 4, one line and a hint",
)
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model-folder", "nowhere", "models", "list"], 2, ("there is no folder `nowhere`",)),
        (["generate", "x", "--out", "taken/a.png"], 4, ("`taken` is a file, not a folder", "--out")),
        (["generate", "x", "--out", "taken/a/b"], 4, ("`taken", "--out")),
        (["generate", "x", "--out", "x" * 300], 4, ("File name too long", "--out")),
        (["generate", "x", "--out", "x" * 300 + ".png"], 4, ("File name too long", "--out")),
        (["generate", "x", "--out", "a.png", "--count", "2"], 2, ("2 pictures cannot go to one file", "folder")),
        (["generate", "x", "--out", "a.tiff"], 2, ("not written", "known: .png")),
        (["generate", "x", "--set", "eta=" + "[" * 9000], 2, ("too many brackets",)),
        (["generate", "x", "--size", "9" * 5000 + "x64"], 2, ("not a size", "`--help`")),
        (["generate", "x", "--steps", "9" * 5000], 2, ("--steps", "gesso generate --help")),
        (["generate", "x", "--guidance", "nan"], 2, ("`--guidance`", "finite number (found `nan`)", "--help")),
        (["generate", "--from", "notes.png"], 3, ("`notes.png` is not a PNG, JPEG or WebP picture", "give a whole")),
        (["generate", "--from", "cut.png"], 3, ("`cut.png` is a damaged picture", "give a whole")),
        (["generate", "--from", "empty.png"], 3, ("`empty.png` is not a PNG",)),
        (["generate", "--from", "plain.png"], 3, ("`plain.png` does not say how it was made", "metadata")),
        (["show", "taken"], 3, ("`taken` is not a PNG", "give a whole")),
        (["replay", "notes.png"], 3, ("`notes.png` is not a PNG", "give a whole")),
    ],
)
def test_a_mistake_at_the_shell_is_told_before_any_work(
    command: Command, arguments: list[str], code: int, words: tuple[str, ...]
) -> None:
    Path("taken").write_text("a file")
    Path("notes.png").write_text("not a picture")
    Path("empty.png").touch()
    picture = Image.effect_noise((64, 64), 60)
    picture.save("plain.png")
    Path("cut.png").write_bytes(Path("plain.png").read_bytes()[:900])
    before = left_behind()
    assert_told(command(*arguments), code, *words)
    assert left_behind() == before


@pytest.mark.rough(
    "requests",
    tried="at the shell: unknown names, sizes 0, 7 and 100000, steps of 30 digits, guidance 1e9, NaN, lone surrogates",
    happens="refused; not even the folder for the picture is made",
    told="exit 3, one line and a hint",
)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "prmer"], ("Unknown model: `prmer`", "nearest: primer")),
        (["--model", "file.safetensors"], ("`file.safetensors` is empty",)),
        (["--part", "voice=x"], ("There is no part `voice`",)),
        (["--model", ""], ("Unknown model: ``",)),
        (["--sampler", "eulr"], ("Unknown sampler: `eulr`", "nearest: Euler")),
        (["--steps", "1000"], ("1000 steps", "1 to 999")),
        (["--steps", "9" * 30], ("steps 9999", "1 to")),
        (["--size", "0x64"], ("a width of 0 px",)),
        (["--size", "7x64"], ("multiples of 8", "nearest: 8x64")),
        (["--size", "100000x64"], ("100000 px",)),
        (["--clip-skip", "9"], ("Clip skip 9", "4 layers", "1 to 4")),
        (["--guidance", "1e9"], ("guidance 1e+09",)),
        (["--set", "eta=banana"], ("`eta`", "takes `float`", '"banana"')),
        (["--set", "eta=NaN"], ("`eta`", "finite")),
        (["--set", "eta=1e999"], ("`eta` holds `inf`",)),
        (["--set", "cross_attention_kwargs=3"], ("`cross_attention_kwargs` has no effect",)),
        (["--set", "latents=[[1]]"], ("`latents`", "`torch.Tensor`", "leave it out")),
        (["--set", "timesteps=[900,1]"], ("leave out `timesteps`",)),
        (["--negative", b"\xff".decode(errors="surrogateescape")], ("negative prompt holds U+DCFF", "UTF-8")),
        (["--set", 'eta="\\ud800"'], ("U+D800",)),
    ],
)
def test_a_request_that_cannot_be_done_leaves_nothing(
    command: Command, options: list[str], words: tuple[str, ...]
) -> None:
    Path("file.safetensors").write_bytes(b"")
    assert_told(command("generate", "a star", "--out", "new/a.png", *SHORT, *options), 3, *words)
    assert left_behind() == ["file.safetensors"]


@pytest.mark.rough(
    "pictures",
    tried="a picture whose prompt and sampler hold escape sequences for the terminal",
    happens="they are spelt out on the screen; the sampler is named as not carried over",
    told="exit 0; a warning",
)
def test_a_picture_gives_the_terminal_no_commands(command: Command) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a \x1b[31mcat\nSteps: 2, Sampler: \x1b]0;x\x07, CFG scale: 3, Seed: 1, Model: \x9b2J")
    Image.effect_noise((64, 64), 60).save("evil.png", pnginfo=info)
    shown = command("show", "evil.png")
    assert shown.out.startswith("a \\x1b[31mcat\nSteps: 2")
    ran = command("generate", "--from", "evil.png", "--model", "no")
    assert ran.code == 3
    assert "Sampler `\\x1b]0;x\\x07` is not carried over" in ran.err
    assert not {"\x1b", "\x07", "\x9b"} & set(shown.out + ran.err)


@pytest.mark.rough(
    "models",
    tried="a weight file that lacks its last byte, at the shell",
    happens="named; the model beside it paints",
    told="exit 3, one line and a hint",
)
def test_a_broken_weight_file_is_named_and_the_model_next_to_it_paints(command: Command) -> None:
    shutil.copytree(zoo.saved("sd1"), "models/whole")
    weights = Path(shutil.copytree("models/whole", "models/cut"), "vae/diffusion_pytorch_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    ran = command("generate", "a star", "--model", "cut", *SHORT)
    assert_told(ran, 3, "vae/diffusion_pytorch_model.safetensors` is truncated", "again")
    assert command("generate", "a star", "--model", "whole", *SHORT).code == 0


@pytest.mark.rough(
    "disks",
    tried="a disk (tmpfs) with room for two of three pictures",
    happens="the ones before are whole and told; of the others nothing is left",
    told="exit 4: “No room left on the disk for …”",
)
def test_a_picture_whose_place_is_gone_is_told_and_the_ones_before_it_are_kept(
    command: Command, tmp_path: Path
) -> None:
    request = ("generate", "a star", "--model", zoo.saved("sd1"), *SHORT)
    (first,) = command(*request).paths
    room_kib = 2 * (first.stat().st_size // 4096 + 1) * 4 + 4  # for two pictures in blocks of 4 KiB
    with disks.small_disk(tmp_path / "disk", kib=room_kib) as mounted:
        if not mounted:
            pytest.skip("no right to mount a small disk")
        ran = command(*request, "--count", 3, "--out", "disk/new")
        assert ran.code == 4
        assert ran.err.startswith("error: No room left on the disk for `disk/new/")
        assert 1 <= len(ran.paths) < 3
        assert sorted(Path("disk/new").iterdir()) == sorted(ran.paths)
        for path in ran.paths:
            assert command("show", path).code == 0


# --- as processes of their own


@pytest.mark.rough(
    "disks",
    tried="a full disk (tmpfs) at the shell",
    happens="neither a picture nor a folder is left",
    told="exit 4: “No room left on the disk for …”",
)
def test_a_full_disk_at_the_shell(forked: Command, tmp_path: Path) -> None:
    with disks.small_disk(tmp_path / "disk", kib=8) as mounted:
        if not mounted:
            pytest.skip("no right to mount a small disk")
        ran = forked("generate", "a star", "--out", "disk/new/a.png", "--model", zoo.saved("sd1"), *SHORT)
        assert_told(ran, 4, "No room left on the disk for `disk/new/a.png`", "free some space")
        assert left_behind() == ["disk"]


@pytest.mark.rough(
    "models",
    tried="weights that give NaN, at the shell",
    happens="no picture; the component and the step are named",
    told="exit 3: “`unet` produced NaN or infinite values at step 0”",
)
def test_nan_at_the_shell(forked: Command) -> None:
    pipeline: Any = zoo.build("sd1")
    pipeline.unet.conv_out.bias.data[0] = float("nan")
    pipeline.save_pretrained("models/rotten")
    before = left_behind()
    ran = forked("generate", "a star", "--model", "rotten", "--count", 2, *SHORT)
    assert_told(ran, 3, "`unet` produced NaN or infinite values at step 0", "weights are damaged")
    assert left_behind() == before
