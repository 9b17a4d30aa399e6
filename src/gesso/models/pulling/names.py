"""Names that a server gives to files: taken as its word for what they are, never as a place on this disk."""

import re
import unicodedata
from pathlib import PurePosixPath

from gesso.core.errors import SourceError
from gesso.models.weights import WEIGHT_SUFFIXES

_MOST_BYTES = 180
"""Of a name; file systems take 255, and suffixes are added."""
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
_BAD = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/]')


def safe_name(name: str) -> str:
    """The last part of `name`, without what a file system, a shell or a terminal might take for something else.

    Raises:
        SourceError: nothing is left of it, or it does not end as weights do.
    """
    last = re.split(r"[\\/]", unicodedata.normalize("NFC", name))[-1]
    clean = "".join(character for character in _BAD.sub("_", last) if character.isprintable()).strip(" .")
    stem, dot, suffix = clean.rpartition(".")
    if not stem or f"{dot}{suffix}".lower() not in WEIGHT_SUFFIXES:
        raise SourceError(
            f"`{last[:_MOST_BYTES]}` is not called like a file of weights",
            hint=f"those end in {', '.join(WEIGHT_SUFFIXES)}",
        )
    stem = stem.encode()[: _MOST_BYTES - len(suffix) - 1].decode(errors="ignore").strip(" .")
    return f"{'_' if _RESERVED.fullmatch(clean) else ''}{stem}.{suffix}"


def safe_path(path: str) -> PurePosixPath:
    """A path inside a repository, as it is.

    Raises:
        SourceError: it leads elsewhere, or cannot be a path on every system.
    """
    parts = path.split("/")
    if any(part in {"", ".", ".."} or _BAD.search(part) or _RESERVED.fullmatch(part) for part in parts):
        raise SourceError(f"The repository names a file `{path[:_MOST_BYTES]}`, which lies nowhere in it")
    return PurePosixPath(path)
