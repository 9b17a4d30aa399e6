"""Running the command line as a process of its own, and what came of a run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gesso.core.recipe import Recipe
from gesso.engine.pictures import read_recipe

SOURCE = Path(__file__).parents[1] / "src"


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """stdout, read as JSON."""
        return json.loads(self.out)

    @property
    def paths(self) -> list[Path]:
        """stdout, read as one path a line."""
        return [Path(line) for line in self.out.splitlines()]


Command = Callable[..., Ran]
"""Runs `gesso ARGUMENTS` and waits for it."""


def start(
    *arguments: object, python: Sequence[str] = (sys.executable,), stdout: Any = None, stderr: Any = None
) -> "subprocess.Popen[bytes]":
    """Begins `gesso ARGUMENTS`."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    command_line = [*python, "-m", "gesso", *(str(argument) for argument in arguments)]
    return subprocess.Popen(command_line, env=environment, stdout=stdout, stderr=stderr)


def recipe_at(path: str) -> Recipe:
    """That of a picture which has one."""
    recipe = read_recipe(Path(path)).recipe
    assert recipe is not None
    return recipe
