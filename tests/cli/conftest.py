"""Running the command line in this process, which is fast, or in one of its own, which is the real thing."""

import subprocess
import sys
from functools import partial

import pytest

from cli_runs import Command, Ran, start
from gesso.cli.boundary import run


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """In this process, through the same boundary as the real command."""

    def ran(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ran(code=code, out=printed.out, err=printed.err)

    return ran


@pytest.fixture
def process() -> Command:
    """As a process of its own."""
    return partial(_ran, [sys.executable])


@pytest.fixture
def forked(forked_python: list[str]) -> Command:
    """The same, where it matters that it is one and not how it starts: what makes pictures begins seconds sooner."""
    return partial(_ran, forked_python)


def _ran(python: list[str], *arguments: object) -> Ran:
    running = start(*arguments, python=python, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = running.communicate(timeout=100)
    return Ran(code=running.returncode, out=out.decode(), err=err.decode())
