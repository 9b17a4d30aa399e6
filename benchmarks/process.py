"""Arms as the benchmark sees them: processes that stand still while another is measured."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_bytes

ROOT = Path(__file__).parents[1]


class ArmError(Exception):
    """An arm did not start, died, or failed at what it was told."""


class ArmProcess:
    """One arm in a process group of its own, stopped (SIGSTOP) except while it does something.

    Even idle servers poll, and what polls disturbs whoever is measured.
    """

    def __init__(self, name: str, model: str, *, threads: int, device: str, log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.arms", name, model, str(threads), device],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
                text=True,
                start_new_session=True,
            )
        self._begun = False

    def ready(self) -> None:
        """Wait until it has started, then let it stand still."""
        self._answer()
        self._begun = True
        self._signal(signal.SIGSTOP)

    def ask(self, **command: Any) -> dict[str, Any]:
        """Let it do one thing, alone on the machine as far as this benchmark goes."""
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            return self._answer()
        except BrokenPipeError as error:
            raise self._failed("it is gone") from error
        finally:
            self._signal(signal.SIGSTOP)

    @property
    def peak_bytes(self) -> int | None:
        """Of it and all its processes, over its life; counted while it lives."""
        return peak_bytes(self._process.pid)

    def dismiss(self) -> None:
        """Tell it that it may end."""
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def close(self) -> None:
        """End it and whatever it started."""
        assert self._process.stdout is not None
        self.dismiss()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._signal(signal.SIGKILL)  # the group: a server's own processes outlive it if it was cut short
        self._process.wait()
        self._process.stdout.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failed("it ended")
        answer = json.loads(line)
        if not answer.pop("ok"):
            raise self._failed(answer["error"])
        return answer

    def _failed(self, reason: str) -> ArmError:
        said = self._log.read_text(errors="replace").splitlines()[-15:]
        return ArmError("\n".join([f"arm `{self.name}`: {reason}", *said]))


@contextlib.contextmanager
def started(names: Sequence[str], model: str, *, threads: int, device: str = "cpu") -> Iterator[dict[str, ArmProcess]]:
    """Arms for `model` by name, started side by side; ended with the block.

    Raises:
        ArmError: one of them did not start; it says what it said.
    """
    arms: dict[str, ArmProcess] = {}
    with tempfile.TemporaryDirectory(prefix="gesso-arms-") as logs:
        try:
            for name in names:
                arms[name] = ArmProcess(name, model, threads=threads, device=device, log=Path(logs) / f"{name}.log")
            for arm in arms.values():
                arm.ready()
            yield arms
        finally:
            for arm in arms.values():  # side by side: a process with a GPU takes seconds to end
                arm.dismiss()
            for arm in arms.values():
                arm.close()
