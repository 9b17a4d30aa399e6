"""The small files of a folder, kept in the metadata of a single file: so nothing of a model is lost by converting it.

Other programs pass over what they do not know. The metadata of a safetensors file and of a `.ckpt` is text, so the
files are a JSON object: content by path, and of what is no text its base64.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from gesso.core.errors import ModelError
from gesso.models.single_files.skeleton import SmallFiles

KEY = "gesso.folder"
_PATH = re.compile(r"(?:[A-Za-z0-9_]+/)?[A-Za-z0-9_.-]+\.(?:json|txt|model|jinja)")
_MAX_BYTES = 64 * 2**20


def embed(files: SmallFiles) -> str:
    """The text that stands for `files`."""
    return json.dumps({name: _as_text(content) for name, content in sorted(files.items())}, separators=(",", ":"))


def _as_text(content: bytes) -> str | dict[str, str]:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode("ascii")}


def embedded(path: Path, metadata: Mapping[str, str]) -> SmallFiles | None:
    """The files in the metadata of the file at `path`; `None` if there are none.

    Raises:
        ModelError: they are damaged, or one of them would lie somewhere else than in the model's own folder.
    """
    text = metadata.get(KEY)
    if text is None:
        return None
    try:
        entries = cast("dict[str, Any]", json.loads(text))
        if len(text) > _MAX_BYTES or not all(_PATH.fullmatch(name) for name in entries):
            raise ValueError("a file of it has a name that no part of a model has")
        return {name: _content(entry) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
        raise ModelError(
            f"`{KEY}` in the metadata of `{path}` is damaged: {error}", hint="convert the folder again"
        ) from error


def _content(entry: Any) -> bytes:
    return entry.encode() if isinstance(entry, str) else base64.b64decode(entry["base64"], validate=True)
