"""What small files beside a weight file say of it. They are other people's: whatever they hold, no scan ends with it.

`NAME.safetensors.origin.json`: of `gesso models pull`; `NAME.civitai.info`: a version of a model as CivitAI's interface
gives it; `NAME.metadata.json`: of the LoRA Manager; `NAME.json`: AUTOMATIC1111's notes; `NAME.txt`: a description;
`NAME.sha256`: as `sha256sum` writes it; `README.md`: the front matter of the hub
(https://huggingface.co/docs/hub/model-cards).
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from gesso.models.index.walk import README
from gesso.models.pulling.origin import FILE_SUFFIX, Origin
from gesso.models.recognition.facts import MAX_CHARACTERS, MAX_WORDS

MAX_BYTES = 2**20
"""More is not read: it is no description."""
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What is said of a file; `None` and empty where nothing is."""

    title: str | None = None
    author: str | None = None
    license: str | None = None
    description: str | None = None
    base: str | None = None
    trained_words: tuple[str, ...] = ()
    sha256: str | None = None

    def filled(self, other: "Said") -> "Said":
        """What is missing here is taken from `other`."""
        missing = {each.name: getattr(other, each.name) for each in fields(self) if not getattr(self, each.name)}
        return replace(self, **missing)


def read_sidecars(paths: Sequence[str], file_name: str) -> tuple[Said, list[str]]:
    """What the sidecars at `paths` say of `file_name`, the first before the next; and which could not be read."""
    said, notes = Said(), []
    for path in paths:
        try:
            said = said.filled(_read(path, file_name))
        except OSError as error:
            notes.append(f"`{os.path.basename(path)}` could not be read: {error.strerror}")
        except (ValueError, RecursionError, AttributeError, TypeError):
            notes.append(f"`{os.path.basename(path)}` is not what its name says")
    return said, notes


def _read(path: str, file_name: str) -> Said:
    name = os.path.basename(path)
    reader = next(read for ending, read in _READERS.items() if name.endswith(ending))
    with open(path, "rb") as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError("too long for a description")
    return reader(text.decode("utf-8-sig"), file_name)


def _origin(text: str, file_name: str) -> Said:
    origin = Origin.model_validate_json(text)
    return Said(
        title=origin.title,
        license=origin.licence,
        base=origin.base_model,
        trained_words=origin.trained_words,
        sha256=next((file.sha256 for file in origin.files if Path(file.path).name == file_name), None),
    )


def _civitai(text: str, file_name: str) -> Said:
    return _of_version(json.loads(text), file_name)


def _manager(text: str, file_name: str) -> Said:
    """Its own fields, then those of CivitAI that it keeps."""
    content = json.loads(text)
    own = Said(
        title=_text(content.get("model_name")),
        license=_text(content.get("license")),
        description=_text(content.get("modelDescription")),
        base=_text(content.get("base_model")),
        trained_words=_words(content.get("trainedWords") or content.get("trained_words")),
        sha256=_sha256(content.get("sha256")),
    )
    return own.filled(_of_version(content.get("civitai") or {}, file_name))


def _notes(text: str, file_name: str) -> Said:
    """AUTOMATIC1111's, or CivitAI's under another name."""
    content = json.loads(text)
    own = Said(
        description=_text(content.get("description")) or _text(content.get("notes")),
        license=_text(content.get("license")),
        base=_text(content.get("sd version")),
        trained_words=_words(content.get("activation text")),
        sha256=_sha256(content.get("sha256")),
    )
    return own.filled(_of_version(content, file_name))


def _of_version(version: Mapping[str, Any], file_name: str) -> Said:
    model = version.get("model") or {}
    return Said(
        title=_text(model.get("name")),
        author=_text((version.get("creator") or model.get("creator") or {}).get("username")),
        license=_text(version.get("license") or model.get("license")),
        description=_text(version.get("description")) or _text(model.get("description")),
        base=_text(version.get("baseModel")),
        trained_words=_words(version.get("trainedWords")),
        sha256=_sha256_of_version(version, file_name),
    )


def _sha256_of_version(version: Mapping[str, Any], file_name: str) -> str | None:
    """Of the file with that name; a version may hold several, and of a renamed one it cannot be told which it is."""
    files = cast("list[dict[str, Any]]", version.get("files") or [])
    named = [file for file in files if file.get("name") == file_name]
    weights = [file for file in files if file.get("type", "Model") == "Model"]
    chosen = named or (weights if len(weights) == 1 else [])
    return _sha256((chosen[0].get("hashes") or {}).get("SHA256")) if chosen else None


def _described(text: str, _: str) -> Said:
    return Said(description=_text(text))


def _checksum(text: str, file_name: str) -> Said:
    """A digest alone, or lines of digest and name."""
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    for digest, *name in lines:
        if (not name and len(lines) == 1) or (name and name[0].lstrip("*") == file_name):
            return Said(sha256=_sha256(digest))
    return Said()


def _readme(text: str, _: str) -> Said:
    """The front matter of a model card."""
    import yaml

    found = _FRONT_MATTER.match(text)
    try:
        content = yaml.safe_load(found[1]) if found is not None else None
    except yaml.YAMLError as error:
        raise ValueError("no YAML") from error
    if not isinstance(content, dict):
        return Said()
    card = cast("dict[str, Any]", content)
    license_ = card.get("license_name") if card.get("license") == "other" else None
    base = card.get("base_model")
    return Said(
        license=_text(license_) or _text(card.get("license")),
        base=_text(base[0] if isinstance(base, list) and base else base),
        trained_words=_words(card.get("instance_prompt")),
    )


_READERS: Mapping[str, Callable[[str, str], Said]] = {
    FILE_SUFFIX: _origin,
    ".civitai.info": _civitai,
    ".metadata.json": _manager,
    ".json": _notes,
    ".txt": _described,
    ".sha256": _checksum,
    README: _readme,
}
"""By the end of the name, the long ones first."""


def _text(value: Any) -> str | None:
    """Text on one line, without the tags that CivitAI's descriptions are full of."""
    if not isinstance(value, str):
        return None
    plain = " ".join(re.sub(r"<[^<>]{1,400}>", " ", value).split())
    return plain[:MAX_CHARACTERS] or None


def _words(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_each_word(value)))[:MAX_WORDS]


def _each_word(value: Any) -> Iterator[str]:
    for part in value if isinstance(value, list) else [value]:
        for word in part.split(",") if isinstance(part, str) else ():
            if text := _text(word):
                yield text


def _sha256(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) and _SHA256.fullmatch(value) else None


def card_of(folder: Path) -> Said:
    """What a model folder says of itself: the front matter of its README. Nothing, where that cannot be read."""
    try:
        return read_sidecars([str(folder / README)], folder.name)[0] if (folder / README).is_file() else Said()
    except OSError:
        return Said()
