"""The command in surroundings that somebody else made: closed streams, no home, signals, loops, odd names."""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import zoo
from cli_runs import Command, Ran
from gesso import cli
from gesso.cli import boundary
from rough import files_below, shell

if sys.platform == "win32":
    pytest.skip("signals, descriptors and links of POSIX", allow_module_level=True)

SHORT = ("--model", zoo.saved("sd1"), "--steps", 2, "--size", "64x64", "--seed", 1)
NOBODY = 54321


def assert_told(ran: Ran, code: int, *words: str) -> None:
    """An error and a hint of one line each, with `words` in them; nothing on stdout."""
    assert (ran.code, ran.out) == (code, ""), ran.err
    error, hint = ran.err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    for word in words:
        assert word in ran.err


# --- streams


@pytest.mark.rough(
    "surroundings",
    tried="stdin, stdout and stderr closed by the caller (`<&- >&- 2>&-`), each and all",
    happens="the command runs; what it prints to a closed stream goes nowhere, and into no other file",
    told="exit code as ever",
)
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing_but_what_is_seen(closed: str) -> None:
    listed, unknown = shell(f"$gesso models list {closed}"), shell(f"$gesso models show nope {closed}")
    assert (listed.code, listed.err) == (0, "")
    assert ("primer" in listed.out) == (">&-" not in closed.replace("2>&-", ""))
    assert (unknown.code, unknown.out) == (3, "")
    assert ("Unknown model" in unknown.err) == ("2>&-" not in closed)


@pytest.mark.rough(
    "surroundings",
    tried="a full device behind stderr (`2> /dev/full`)",
    happens="nobody can be told, and the exit code is still the right one",
    told="exit 3",
)
def test_an_error_that_cannot_be_told_keeps_its_exit_code() -> None:
    assert shell("$gesso models show nope 2> /dev/full").code == 3


@pytest.mark.rough(
    "surroundings",
    tried="`LANG=C`, ASCII only, no terminal, no `TERM`; a name with an accent and an emoji",
    happens="what cannot be shown is spelt out",
    told="exit 3, one line",
)
def test_a_locale_of_ascii_spells_names_out() -> None:
    ran = shell("$gesso models show é🎨 < /dev/null", LANG="C", LC_ALL="C", PYTHONIOENCODING="ascii", TERM=None)
    assert_told(ran, 3, "Unknown model: `\\xe9\\U0001f3a8`")


# --- where it runs


@pytest.mark.rough(
    "surroundings",
    tried="the current folder was removed",
    happens="nothing runs",
    told="exit 3: “The current folder was removed”",
)
@pytest.mark.parametrize("arguments", ["models list", "generate x", "doctor"])
def test_a_current_folder_that_was_removed_is_told(arguments: str) -> None:
    assert_told(shell(f"mkdir gone && cd gone && rmdir ../gone && $gesso {arguments}"), 3, "current folder was removed")


@contextmanager
def as_nobody() -> Iterator[None]:
    """This process has no rights, and belongs to a user whom the system does not list."""
    if os.geteuid() != 0:
        pytest.skip("only root may become somebody else")
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


@pytest.fixture
def shared(command: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that everybody reaches, which is the current one and the home."""
    for arguments in (("models", "list"), ("models", "show", "x"), ("show", "x"), ("generate", "x", "--sampler", "x")):
        command(*arguments)  # whatever it imports may be out of reach for others
    folder = Path(tempfile.mkdtemp(prefix="gesso-rough-"))
    folder.chmod(0o777)
    monkeypatch.chdir(folder)
    for name in ("HOME", "XDG_CONFIG_HOME", "HF_HOME", "GESSO_CACHE_FOLDER"):
        monkeypatch.setenv(name, str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.rough(
    "surroundings",
    tried="`HOME` unset, for a user whom the system does not list, as in containers",
    happens="asks for a home instead of guessing one",
    told="exit 2: “There is no home folder …”, hint: set `HOME`",
)
def test_a_user_without_a_home_is_told_to_name_one(
    shared: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "GESSO_CACHE_FOLDER"):
        monkeypatch.delenv(name)
    with as_nobody():
        assert_told(command("models", "list"), 2, "There is no home folder", "set `HOME`")
        monkeypatch.setenv("HOME", str(shared))
        given = command("models", "list")
    assert (given.code, given.err) == (0, "")


@pytest.mark.rough(
    "disks",
    tried="permissions 000 on the models, the output folder, the settings file, a picture, the current folder",
    happens="each is named; models that may not be read are not listed",
    told="exit 2, 3 or 4, one line and a hint",
)
def test_what_may_not_be_read_or_written_is_named(
    shared: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("models/m", "out", "project", "inside"):
        (shared / name).mkdir(parents=True)
    (shared / "models/m/model_index.json").write_text("{}")
    (shared / "project/gesso.toml").touch()
    (shared / "x.png").touch()
    for name in ("models", "out", "project/gesso.toml", "x.png"):
        (shared / name).chmod(0)
    with as_nobody():
        listed = command("models", "list", "--json")
        assert (listed.code, [model["name"] for model in listed.data]) == (0, ["primer"])
        assert_told(command("models", "show", "models/m"), 3, "models/m")
        assert_told(command("generate", "x", "--out", "out/a.png"), 4, "`out` may not be written", "--out")
        assert_told(command("generate", "x", "--journal", "out/j"), 4, "may not be written", "--journal")
        assert_told(command("show", "x.png"), 3, "`x.png` could not be opened: Permission denied")
        assert_told(command("generate", "--from", "x.png"), 3, "`x.png` could not be opened: Permission denied")
        monkeypatch.chdir("project")
        assert_told(command("models", "list"), 2, "gesso.toml` could not be read: Permission denied", "rights")
    monkeypatch.chdir("../inside")
    (shared / "inside").chmod(0)
    with as_nobody():
        assert_told(command("models", "list"), 2, "gesso.toml` could not be read: Permission denied", "rights")


# --- files that are something else


@pytest.mark.rough(
    "disks",
    tried="links that lead in a circle: as model folder, model, picture, `--out`, journal, `gesso.toml`",
    happens="no search without end; each is named",
    told="exit 3 or 4, one line and a hint",
)
def test_links_in_a_circle_end(command: Command) -> None:
    for name, target in {
        "models/round": ".",
        "models/self": "self",
        "self": "self",
        "gesso.toml": "gesso.toml",
    }.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).symlink_to(target)
    listed = command("models", "list", "--json")
    assert (listed.code, [model["name"] for model in listed.data]) == (0, ["primer"])
    assert_told(command("models", "show", "models/self"), 3, "models/self")
    for arguments in (("show",), ("replay",), ("generate", "--from")):
        ran = command(*arguments, "self")
        assert (ran.code, ran.err) == (3, "error: There is no picture `self`\n")
    assert_told(command("generate", "x", *SHORT, "--out", "self"), 4, "`self` could not be written", "--out")
    assert_told(command("generate", "x", *SHORT, "--journal", "self"), 4, "`self")


@pytest.mark.rough(
    "disks",
    tried="a named pipe and `/dev/zero` where a picture is expected",
    happens="neither is opened: the one would be waited for, the other read for ever",
    told="exit 3: “… is not a picture but no file”",
)
def test_pipes_and_devices_are_not_read_as_pictures(command: Command) -> None:
    os.mkfifo("pipe.png")
    for name in ("pipe.png", "/dev/zero"):
        for arguments in (("show",), ("replay",), ("generate", "--from")):
            assert_told(command(*arguments, name), 3, f"`{name}` is not a picture but no file", "give the file")


@pytest.mark.rough(
    "names",
    tried="`--out` with 255 bytes, an emoji, a line break, a leading dash, braces and percent signs, bytes not UTF-8",
    happens="the picture has just that name, and `gesso show` reads it",
    told="exit 0",
)
@pytest.mark.parametrize(
    "name",
    ["x" * 251 + ".png", "🎨 é.png", "a\nb.png", "-x.png", "{seed}%s{0}.png", os.fsdecode(b"\xff\xfe.png")],
    ids=ascii,
)
def test_a_picture_may_have_any_name(command: Command, name: str) -> None:
    sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue] as commands do
    ran = command("generate", "x", *SHORT, "--out", f"new/{name}")
    assert (ran.code, ran.err) == (0, "")
    assert os.listdir("new") == [name]
    assert command("show", f"new/{name}").code == 0


# --- settings


@pytest.mark.rough(
    "settings",
    tried="a pattern for names that asks for a gigabyte of digits (`{seed:0999999999}`, `{seed:{number}}`)",
    happens="refused before a name is made",
    told="exit 2, one line and a hint",
)
@pytest.mark.parametrize("pattern", ["{seed:0999999999}", "{number:>2147483647}", "{seed:{seed}}"])
def test_a_pattern_that_asks_for_a_gigabyte_is_refused(command: Command, pattern: str) -> None:
    Path("gesso.toml").write_text(f'output_pattern = "{pattern}"')
    assert_told(command("models", "list"), 2, "`output_pattern` is not usable", "a width that no name has")


@pytest.mark.rough(
    "settings",
    tried="a `gesso.toml` in a downloaded folder that switches `trust_remote_code` on",
    happens="refused: only a person's own file, the environment or the command line may",
    told="exit 2, one line and a hint",
)
def test_a_strangers_folder_may_not_allow_its_own_code(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("gesso.toml").write_text("trust_remote_code = true")
    assert_told(command("models", "list"), 2, "gesso.toml` may not set `trust_remote_code`")
    Path("gesso.toml").write_text("trust_remote_code = false")
    monkeypatch.setenv("GESSO_TRUST_REMOTE_CODE", "true")
    assert command("models", "list").code == 0


@pytest.mark.rough(
    "settings",
    tried="garbage in variables that are not ours: `TERM`, `COLUMNS`, `HF_HOME`, `XDG_CACHE_HOME`, `TZ`",
    happens="nothing",
    told="exit 0",
)
def test_garbage_in_the_variables_of_others_is_harmless() -> None:
    ran = shell(
        "$gesso models list",
        TERM="\udcff",
        COLUMNS="x",
        LINES="-1",
        HF_HOME="/dev/null/x",
        XDG_CACHE_HOME="\udcff",
        TZ="Nowhere/\x01",
        NO_COLOR="?",
    )
    assert (ran.code, ran.err) == (0, "")


# --- signals


@contextmanager
def listening() -> Iterator[None]:
    """Signals interrupt this process as they do a command."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
    boundary._listen_to_signals()
    assert signal.SIG_DFL not in {signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def once(sign: str, number: int, *, ended: threading.Event) -> threading.Thread:
    """A thread that sends this process a signal once there is a file that matches `sign`."""

    def wait() -> None:
        while not list(Path().glob(sign)) and not ended.is_set():
            time.sleep(0.005)
        if not ended.is_set():
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.rough(
    "killed",
    tried="SIGTERM, and SIGHUP of a terminal that goes away, in the middle of a request with a journal",
    happens="done pictures are kept and told; the same command goes on from there",
    told="exit 143 and 129: “Interrupted by SIGTERM”",
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_process_ends_it_in_order(command: Command, number: signal.Signals) -> None:
    request = ("--setting", "max_images=1", "generate", "a star", *SHORT, "--count", 3, "--steps", 60)
    where = ("--out", "here", "--journal", "journal")
    ended = threading.Event()
    with listening():
        thread = once("journal/00001/000009*", number, ended=ended)
        ran = command(*request, *where)
        ended.set()
        thread.join()
    assert ran.code == 128 + number
    assert ran.err == f"error: Interrupted by {number.name}\n"
    assert ran.paths
    assert [str(path) for path in ran.paths] == [f"here/{name}" for name in files_below("here")]
    before = {path: path.stat().st_mtime_ns for path in ran.paths}
    again = command(*request, *where, "--json")
    assert again.code == 0, again.err
    assert len(files_below("here")) == len(again.data["images"]) == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not Path("journal").exists()


@pytest.mark.rough(
    "killed",
    tried="Ctrl-C before the command has begun, or while it reports another",
    happens="nothing is printed",
    told="exit 130, no traceback",
)
def test_ctrl_c_outside_of_a_command_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(boundary, "prepare_process", lambda: None)
    monkeypatch.setattr(boundary, "run", interrupted)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 130


@pytest.mark.rough(
    "disks",
    tried="the output folder vanishes while its pictures are made",
    happens="the rest goes into a new one; only pictures that are there are named",
    told="exit 0, a warning",
)
@pytest.mark.parametrize("form", ["--json", "--debug"])
def test_an_output_folder_that_vanishes_is_made_again(command: Command, form: str) -> None:
    ended = threading.Event()

    def vanish() -> None:
        while not list(Path("here").glob("*.png")) and not ended.is_set():
            time.sleep(0.002)
        shutil.rmtree("here", ignore_errors=True)

    thread = threading.Thread(target=vanish)
    thread.start()
    ran = command(
        "--setting", "max_images=1", "generate", "a star", *SHORT, "--count", 3, "--steps", 30, "--out", "here", form
    )
    ended.set()
    thread.join()
    assert ran.code == 0, ran.err
    told = [image["path"] for image in ran.data["images"]] if form == "--json" else ran.out.splitlines()
    assert told == [f"here/{name}" for name in files_below("here")]
    assert 1 <= len(told) < 3
    assert "was removed after it was saved" in ran.err
