"""docs/reference/effects.md, made of what effect tests measure.

`PYTHONPATH=tests python -m effects_page` runs those tests and writes it anew, with its pictures.
"""

import ast
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from effects import Row, rows

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
PAGE = ROOT / "docs" / "reference" / "effects.md"
PICTURES = ROOT / "docs" / "images" / "effects"
_SIDE_PX = 96
_GAP_PX = 4

_HEAD = """\
# Effects

*Made by `tests/effects_page.py` of what the tests measure; a test keeps its lines true.*

What each capability does to pictures, measured where the truth is known: on [the primer](primer.md), whose pictures can
be read back, or by exact rules on thin models with random weights. It says nothing about how pretty the pictures of a
large model become. Measured on a CPU; `make test` fails where a number leaves its bound.
"""


def lines_in_tests() -> dict[str, str]:
    """Every effect that a test shows → the file of the test."""
    found: dict[str, str] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "effect":
                (line, *_) = node.args
                assert isinstance(line, ast.Constant), f"{file}: the line of an effect is written out"
                found[str(line.value)] = file.relative_to(TESTS).as_posix()
    return found


def lines_on_page() -> dict[str, str]:
    """Every effect of the page → the file of its test."""
    return dict(re.findall(r"^\| (.+?) \| .*`([\w/]+\.py)` \|$", PAGE.read_text("utf-8"), re.MULTILINE))


def page(found: Sequence[tuple[Row, Sequence[Image.Image]]], titles: dict[str, str]) -> str:
    """The page, whose pictures are written beside it."""
    parts = [_HEAD]
    files = list(dict.fromkeys(row.test.partition("::")[0] for row, _ in found))
    for file in files:
        parts += [f"\n## {titles[file]}\n", "\n| | Measured | Wanted | On | Test |\n|---|---|---|---|---|\n"]
        here = [(row, pictures) for row, pictures in found if row.test.startswith(f"{file}::")]
        parts += [
            f"| {row.line} | {row.value:.3g} | {row.bound} | {row.on} | `{file.removeprefix('tests/')}` |\n"
            for row, _ in here
        ]
        for row, pictures in here:
            if pictures:
                name = re.sub(r"\W+", "-", row.line.lower())[:50].strip("-")
                strip(pictures).save(PICTURES / f"{name}.png", optimize=True)
                below = " · ".join(row.pictures)
                parts.append(f"\n{row.line}: {below}\n\n![{row.line}](../images/effects/{name}.png)\n")
    return "".join(parts)


def strip(pictures: Sequence[Image.Image]) -> Image.Image:
    """The pictures side by side, of one height."""
    fitted = [
        one.resize((round(one.width * _SIDE_PX / one.height), _SIDE_PX), Image.Resampling.BOX) for one in pictures
    ]
    whole = Image.new("RGB", (sum(one.width + _GAP_PX for one in fitted) - _GAP_PX, _SIDE_PX), "white")
    left = 0
    for one in fitted:
        whole.paste(one, (left, 0))
        left += one.width + _GAP_PX
    return whole


def _titles() -> dict[str, str]:
    """Of each test file the beginning of what it says of itself."""
    docs = {file: ast.get_docstring(ast.parse(file.read_text("utf-8"))) for file in TESTS.rglob("test_*.py")}
    return {
        file.relative_to(ROOT).as_posix(): (doc or file.stem).splitlines()[0].rstrip(".").partition(":")[0]
        for file, doc in docs.items()
    }


def main() -> int:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        failed = pytest.main([str(TESTS), f"--effects={folder}", "-q", "-p", "no:cacheprovider"])
        if failed:
            return int(failed)
        for old in PICTURES.glob("*.png"):
            old.unlink()
        PAGE.write_text(page(rows(Path(folder)), _titles()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
