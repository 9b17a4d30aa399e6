"""The curve of a training: one JSON object a line, for the model card and for whoever watches."""

import json
from pathlib import Path
from typing import Any

from gesso.core.files import reporting_storage, write_atomically


class Journal:
    """Appends to `log.jsonl`. After an interruption it forgets what came after the checkpoint: that will come again."""

    def __init__(self, folder: Path, *, step: int) -> None:
        self.path = folder / "log.jsonl"
        kept = [line for line in self.lines() if line["step"] <= step]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def lines(self) -> list[dict[str, Any]]:
        """What was written so far. A line that was cut off is left out."""
        if not self.path.exists():
            return []
        found: list[dict[str, Any]] = []
        for text in self.path.read_text("utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                found.append(line)
        return found

    def add(self, **line: Any) -> None:
        """Write one line. Raises `StorageError` if there is no room for it."""
        with reporting_storage(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
