"""What effect tests measure, kept as rows of docs/reference/effects.md; see `effects_page`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

FILE = "{number:04d}.json"


@dataclass(frozen=True, kw_only=True)
class Row:
    """An effect and how large it was."""

    line: str
    test: str
    """File and name of the test."""
    on: str
    """What it was measured on."""
    value: float
    bound: str
    """What the value must be, or the test fails."""
    pictures: tuple[str, ...]
    """What is written below each."""


class Effect:
    """Given to a test that shows an effect."""

    def __init__(self, test: str, folder: Path | None) -> None:
        self._test = test
        self._folder = folder

    def __call__(
        self,
        line: str,
        value: float,
        *,
        least: float | None = None,
        most: float | None = None,
        on: str = "primer",
        pictures: Mapping[str, Image.Image] | None = None,
    ) -> None:
        """Assert that `value` is within its bounds, and keep it if somebody collects.

        Args:
            line: one sentence, what a user would see.
            on: what it is measured on: `primer`, or `thin random weights`.
            pictures: examples, by what shall be written below them.
        """
        bounds = [f"{sign} {bound:g}" for sign, bound in (("≥", least), ("≤", most)) if bound is not None]
        assert bounds, "an effect needs a bound"
        assert least is None or value >= least, f"{line}: {value:g}, wanted {least:g} at least"
        assert most is None or value <= most, f"{line}: {value:g}, wanted {most:g} at most"
        if self._folder is None:
            return
        shown = pictures or {}
        row = Row(line=line, test=self._test, on=on, value=value, bound=" and ".join(bounds), pictures=tuple(shown))
        stem = self._folder / FILE.format(number=len(list(self._folder.glob("*.json"))))
        stem.write_text(json.dumps(asdict(row)), "utf-8")
        for number, picture in enumerate(shown.values()):
            picture.convert("RGB").save(stem.with_suffix(f".{number}.png"))


def rows(folder: Path) -> list[tuple[Row, list[Image.Image]]]:
    """What was kept there, with the pictures."""
    found: list[tuple[Row, list[Image.Image]]] = []
    for file in sorted(folder.glob("*.json")):
        row = Row(**json.loads(file.read_text("utf-8")))
        pictures: list[Image.Image] = []
        for number in range(len(row.pictures)):
            pictures.append(Image.open(file.with_suffix(f".{number}.png")))
        found.append((row, pictures))
    return found
