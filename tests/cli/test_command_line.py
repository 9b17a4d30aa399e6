"""What every command has in common: help, exit codes, and errors of one line with a hint."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from cli_runs import Command, Ran, start
from gesso import __version__
from gesso.cli import show
from gesso.cli.boundary import run


def assert_told(ran: Ran, code: int, error: str, hint: str | None = None) -> None:
    """One line that begins with `error:`, at most one that begins with `hint:`, nothing on stdout."""
    lines = ran.err.splitlines()
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert lines[0].startswith("error: ")
    assert error in lines[0]
    assert len(lines) <= 2
    if hint is not None:
        assert lines[1].startswith("hint: ")
        assert hint in lines[1]


def modules_after(code: str) -> int:
    """How many are loaded: what a start costs on any machine, however busy."""
    counted = f"import sys\n{code}\nprint(len(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", counted], capture_output=True, text=True, check=True)
    return int(done.stderr)


def test_help_loads_less_than_half_of_what_importing_torch_does() -> None:
    torch = modules_after("import torch")
    for arguments in (["--help"], ["generate", "--help"]):
        assert modules_after(f"from gesso.cli.boundary import run\nassert run({arguments}) == 0") < torch / 2


def test_help_and_bad_usage_load_none_of_the_heavy_libraries() -> None:
    code = """
import sys
from gesso.cli.boundary import run
assert run(["--help"]) == 0
assert run(["generate", "--help"]) == 0
assert run(["generate", "x", "--size", "12"]) == 2
assert run(["generate", "x", "--precision", "double"]) == 2
assert run(["generate", "x", "--count", "2", "--out", "a.png"]) == 2
assert run(["generate", "--from", "nothing.png"]) == 3
heavy = {"torch", "diffusers", "transformers", "fastapi", "lightning", "gradio", "onnxruntime"}
sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_lists_every_command(command: Command) -> None:
    ran = command("--help")
    assert ran.code == 0
    for name in ("generate", "samplers", "models", "show", "replay", "doctor"):
        assert name in ran.out


def test_without_a_command_there_is_help(command: Command) -> None:
    assert command().out == command("--help").out


def test_the_version_is_told(command: Command) -> None:
    assert command("--version") == Ran(code=0, out=f"gesso {__version__}\n", err="")


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["paint"], "No such command `paint`", "gesso --help"),
        (["generate"], "There is no prompt", "gesso generate"),
        (["generate", "x", "--stepz", "3"], "Unknown option: `--stepz`", "nearest: --steps"),
        (["generate", "x", "--steps", "many"], "`--steps`: Input should be a valid integer", "gesso generate --help"),
        (["generate", "x", "--steps", "many"], "found `many`", None),
        (["generate", "x", "--steps"], "`--steps` requires an argument", None),
        (["generate", "x", "--size", "12"], "`--size`: not a size: `12`", None),
        (["generate", "x", "--precision", "double"], "`--precision`: Input should be", None),
        (["generate", "x", "--format", "gif"], "`--format`: Input should be", None),
        (["generate", "x", "--set", "eta"], "not of the form KEY=VALUE", None),
        (["generate", "x", "--set", "a={1"], "`--set a=…` is not valid JSON", "quotes"),
        (["generate", "x", "--set", "a=1", "--set", "a=2"], "gives `a` twice", None),
        (["generate", "x", "--set", "a b=1"], "`--set`", None),
        (["generate", "x", "--count", "2", "--out", "a.png"], "2 pictures cannot go to one file", "folder"),
        (["generate", "x", "--out", "a.gif"], "`a.gif` asks for a format that is not written", "known: .png"),
        (["generate", "x", "--out", "a.png", "--format", "webp"], "Asked for webp in `a.png`", "leave one out"),
        (["generate", "x", "--threads", "2"], "`--threads` is not an option of `generate`", "before the command"),
        (["show"], "Missing argument `IMAGE`", "gesso show --help"),
        (["models"], "Missing command", "gesso models --help"),
        (["--threads", "0", "models", "list"], "Setting `threads` is not usable", None),
        (["--setting", "stepz=1", "models", "list"], "Unknown setting `stepz`", None),
        (["--setting", "max_row=1", "models", "list"], "Unknown setting `max_row`", "nearest: max_rows"),
        (["--setting", "max_rows=0", "models", "list"], "Setting `max_rows` is not usable", None),
    ],
)
def test_a_malformed_command_line_is_told_in_one_line_and_exits_2(
    command: Command, arguments: list[str], error: str, hint: str | None
) -> None:
    assert_told(command(*arguments), 2, error, hint)


def test_a_bad_settings_file_is_told(command: Command) -> None:
    Path("gesso.toml").write_text("modle = 'primer'\n")
    assert_told(command("models", "list"), 2, "Unknown setting `modle`", "nearest: model")


@pytest.mark.parametrize("name", ["show", "replay"])
def test_a_picture_that_is_not_there_exits_3(command: Command, name: str) -> None:
    assert_told(command(name, "nothing.png"), 3, "There is no picture `nothing.png`")


def test_an_output_folder_that_cannot_be_made_is_found_before_any_work(command: Command) -> None:
    Path("taken").write_text("a file")
    assert_told(command("generate", "x", "--out", "taken/pictures"), 4, "`taken` is a file", "--out")
    assert_told(command("generate", "x", "--journal", "taken"), 4, "`taken` is a file")


def test_an_unexpected_error_is_one_line_and_exits_5(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> NoReturn:
        raise ZeroDivisionError(f"found at\n{path}")

    monkeypatch.setattr(show, "check_picture", broken)
    ran = command("show", "x.png")
    assert_told(ran, 5, "internal error: ZeroDivisionError: found at x.png", "--debug")
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("arguments", [["--debug", "show", "x.png"], ["show", "x.png", "--debug"]])
def test_debug_adds_the_traceback_wherever_it_stands(command: Command, arguments: list[str]) -> None:
    ran = command(*arguments)
    assert ran.code == 3
    assert ran.err.startswith("Traceback")
    assert ran.err.splitlines()[-1] == "error: There is no picture `x.png`"


def test_after_two_dashes_everything_is_prompt(command: Command) -> None:
    ran = command("generate", "--out", "x.png", "--size", "8", "--", "--debug", "--steps")
    assert_told(ran, 2, "`--size`")


def test_interrupting_a_command_exits_130(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(show, "check_picture", interrupted)
    assert_told(command("show", "x.png"), 130, "Interrupted")


def test_running_out_of_memory_exits_4(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(path: Path) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(show, "check_picture", too_much)
    assert_told(command("show", "x.png"), 4, "Out of memory")


@pytest.mark.rough(
    "surroundings",
    tried="a reader that goes away (`head` behind a pipe)",
    happens="the command ends",
    told="exit 0, no traceback",
)
def test_a_reader_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    running = start("samplers", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, b"")


@pytest.mark.rough(
    "surroundings",
    tried="a full disk behind stdout (`> /dev/full`)",
    happens="told on stderr",
    told="exit 4, one line and a hint",
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_stdout_is_told() -> None:
    with open("/dev/full", "wb") as full:
        running = start("samplers", stdout=full, stderr=subprocess.PIPE)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 4
    assert err.decode().splitlines()[0].startswith("error: Could not write")
    assert "Traceback" not in err.decode()


def test_a_terminal_that_knows_few_characters_gets_what_it_can_show(
    process: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    ran = process("show", "pîcture.png")
    assert ran.code == 3
    assert ran.err == "error: There is no picture `p\\xeecture.png`\n"


def test_the_boundary_never_raises() -> None:
    assert run(["--no-such-option"]) == 2
