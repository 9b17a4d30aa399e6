"""`docs/reference/robustness.md` out of the tests: each mark `rough` is a row, so no row stands there without a test.

`python tests/robustness.py` writes the page's tables anew.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reference" / "robustness.md"
BEGIN, END = "<!-- rows: begin -->", "<!-- rows: end -->"

TOPICS = {
    "killed": "Killed and interrupted",
    "disks": "Disks, folders and rights",
    "crowds": "Many at once",
    "models": "Models that are broken or change",
    "downloads": "Downloads",
    "clocks": "Clocks",
    "pictures": "Pictures and journals of strangers",
    "requests": "Requests that cannot be",
    "settings": "Settings",
    "names": "Names",
    "surroundings": "Surroundings of the command",
    "threads": "Threads, processes and endings",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was tried, what happens, how it is told, and the test that shows it."""

    topic: str
    tried: str
    happens: str
    told: str
    file: str
    """Relative to the repository."""
    test: str


def rows() -> list[Row]:
    """Every row, in the order of the test files."""
    return [row for path in sorted(TESTS.rglob("test_*.py")) for row in _rows_of(path)]


def _rows_of(path: Path) -> Iterator[Row]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.rough":
                    (topic,) = (ast.literal_eval(argument) for argument in mark.args)
                    told = {str(word.arg): ast.literal_eval(word.value) for word in mark.keywords}
                    file = path.relative_to(TESTS.parent).as_posix()
                    yield Row(topic=topic, file=file, test=node.name, **told)


def tables(found: list[Row]) -> str:
    """The tables of the page, one for each topic."""
    parts = [f"{len(found)} attacks, each a test that runs with the others.\n"]
    for topic, title in TOPICS.items():
        of_topic = [row for row in found if row.topic == topic]
        parts.append(f"## {title}\n\n| tried | what happens | told | test |\n|---|---|---|---|")
        parts[-1] += (
            "".join(f"\n| {row.tried} | {row.happens} | {row.told} | {_link(row)} |" for row in of_topic) + "\n"
        )
    return "\n".join(parts)


def _link(row: Row) -> str:
    name = row.test.removeprefix("test_").replace("_", " ")
    return f"[{name}](../../{row.file})"


def renewed(page: str) -> str:
    """`page` with the tables as they should be."""
    return re.sub(
        f"(?<={re.escape(BEGIN)}\n).*(?={re.escape(END)})", lambda _: tables(rows()), page, count=1, flags=re.DOTALL
    )


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
    sys.stdout.write(f"{PAGE}: {len(rows())} rows\n")
