"""What is left when a command is interrupted: everything that was done, nothing half-written."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli_runs import Command, start

if sys.platform == "win32":
    pytest.skip("pseudo-terminals and signals of POSIX", allow_module_level=True)


class Watched:
    """A command whose stderr is a terminal, so that it draws its progress bar."""

    def __init__(self, *arguments: object) -> None:
        import pty

        self._screen, terminal = pty.openpty()
        self.running = start(*arguments, stdout=subprocess.PIPE, stderr=terminal)
        os.close(terminal)
        self.shown = b""

    def wait_until_shown(self, words: bytes) -> None:
        while words not in self.shown:
            self.shown += self._read() or pytest.fail(f"ended without showing {words!r}: {self.shown!r}")

    def interrupt(self) -> tuple[int, str]:
        """Presses Ctrl-C, and waits. Returns the exit code and stdout."""
        self.running.send_signal(signal.SIGINT)
        while some := self._read():
            self.shown += some
        out, _ = self.running.communicate(timeout=60)
        os.close(self._screen)
        return self.running.returncode, out.decode()

    def _read(self) -> bytes:
        try:
            return os.read(self._screen, 4096)
        except OSError:  # Linux says so when the other end is closed
            return b""


def files_below(folder: str) -> list[Path]:
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.rough(
    "killed",
    tried="Ctrl-C in the middle of a picture, at a terminal",
    happens="no file is left",
    told="exit 130: “Interrupted”",
)
def test_ctrl_c_cancels_the_request_and_leaves_no_file() -> None:
    watched = Watched("generate", "a star", "--steps", 900, "--out", "here/a.png")
    watched.wait_until_shown(b"steps/s")
    code, out = watched.interrupt()
    assert code == 130
    assert out == ""
    assert b"error: Interrupted" in watched.shown
    assert b"Traceback" not in watched.shown
    assert files_below("here") == []


@pytest.mark.rough(
    "killed",
    tried="Ctrl-C between the pictures of a request, then the same command again",
    happens="done pictures are kept and told; the rest is made, none twice",
    told="exit 130, then 0",
)
def test_ctrl_c_keeps_and_tells_what_is_done_and_a_journal_goes_on_from_there(command: Command) -> None:
    request = ("generate", "a star", "--count", 4, "--steps", 6, "--size", "64x64", "--journal", "journal")
    watched = Watched("--setting", "max_images=1", *request, "--out", "here")
    watched.wait_until_shown(b"painting 3 of 4")
    code, out = watched.interrupt()
    assert code == 130
    told = [Path(line) for line in out.splitlines()]
    assert 2 <= len(told) < 4
    assert sorted(told) == files_below("here")
    before = {path: path.stat().st_mtime_ns for path in told}

    ran = command(*request, "--out", "here", "--json")

    assert ran.code == 0, ran.err
    seeds = [image["seed"] for image in ran.data["images"]]
    assert seeds == [seeds[0] + index for index in range(4)]
    assert len(files_below("here")) == 4
    for path, written in before.items():
        assert path.stat().st_mtime_ns == written  # not made again
    assert files_below("journal") == []
