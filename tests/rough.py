"""What tests of rough treatment share: a quick request, and processes that end badly."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import zoo
from cli_runs import SOURCE, Ran
from gesso.core.requests import ImageRequest


def quick(**fields: Any) -> ImageRequest:
    """A small request of a thin model."""
    thin = {"model": str(zoo.saved("sd1")), "width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
    return ImageRequest.model_validate({"prompt": "a red circle", "steps": 3, "seed": 1} | thin | fields)


def files_below(folder: Path | str) -> list[str]:
    """Every file in `folder`, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def shell(command: str, **environment: str | None) -> Ran:
    """Run a line of `sh`, in which `$gesso` is the command and `$python` this Python.

    Args:
        environment: variables set for it; `None` unsets one.
    """
    known = {**os.environ, "PYTHONPATH": str(SOURCE), "python": sys.executable, "gesso": f"{sys.executable} -m gesso"}
    merged = {**known, **environment}
    ran = subprocess.run(
        ["sh", "-c", command],
        env={name: value for name, value in merged.items() if value is not None},
        capture_output=True,
        timeout=100,
    )
    return Ran(code=ran.returncode, out=ran.stdout.decode(), err=ran.stderr.decode())


def python(program: str, *arguments: object, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    """Run a Python program."""
    command = [sys.executable, "-c", program, *(str(argument) for argument in arguments)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.run(command, env=environment, capture_output=True, timeout=100, check=False, **options)
