"""What the commands print: aligned columns for people, JSON for programs. Both go to stdout."""

import json
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def visible(text: str) -> str:
    """`text` with control characters spelt out: names and prompts in the pictures of others may hold commands for the
    terminal."""
    return text.translate(_CONTROLS)


def one_line(text: str) -> str:
    """`text` on a line of its own."""
    return visible(" ".join(text.split()))


def print_json(value: Any) -> None:
    """`value` as JSON; paths and other odd things as their text."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under a header, two blanks between columns. No frame, so that `grep` and `cut` are at home."""
    table = [[title.upper() for title in header], *([visible(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_facts(facts: Sequence[tuple[str, str]], *, indent: int = 0) -> None:
    """Names and what they stand for, one a line, the values aligned."""
    width = max((len(name) for name, _ in facts), default=0)
    for name, value in facts:
        print(f"{' ' * indent}{name.ljust(width)}  {visible(value)}".rstrip())


def installed_version(package: str) -> str | None:
    """The version of an installed distribution, from its metadata; nothing is imported."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def print_warning(message: str) -> None:
    """One line on stderr."""
    print(f"warning: {one_line(message)}", file=sys.stderr)
