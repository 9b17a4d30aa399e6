"""Which file is meant by a name: by its own first, then by the ways to spell it, at last by a hash."""

import re
from collections.abc import Collection, Iterator, Sequence

from gesso.core.errors import ModelError
from gesso.models.index.entry import SHORT_HASH_DIGITS, IndexedFile, NamedFile
from gesso.models.index.names import folded, spellings
from gesso.models.index.walk import FoundFile
from gesso.models.recognition.kinds import Kind

OLD_HASH_DIGITS = 8
_HASH = re.compile(rf"[0-9a-f]{{{SHORT_HASH_DIGITS},64}}|[0-9a-f]{{{OLD_HASH_DIGITS}}}")
_MOST_NAMED = 8


def matches(name: str, files: Sequence[NamedFile]) -> Iterator[list[NamedFile]]:
    """Those that `name` may mean, the surest first; each list is of equal rank."""
    exact = [file for file in files if file.name == name]
    if exact:
        yield exact
    alike = [file for file in files if folded(file.name) == folded(name) and file not in exact]
    if alike:
        yield alike
    spelt = [file for file in files if any(spells(name, found) for found in (file.found, *file.others))]
    if spelt:
        yield spelt


def spells(name: str, found: FoundFile) -> bool:
    """Whether `name` is a way to call the file by this path."""
    return folded(name) in map(folded, spellings(found))


def looks_like_hash(name: str) -> bool:
    return _HASH.fullmatch(name.lower()) is not None


def has_hash(hash_: str, *, sha256: str | None, old_hash: str | None) -> bool:
    """Whether one of these is meant. AUTOMATIC1111's old hash has 8 digits, its short one 10 of the sha256."""
    digits = hash_.lower()
    return digits == old_hash if len(digits) == OLD_HASH_DIGITS else bool(sha256) and str(sha256).startswith(digits)


def fits(file: IndexedFile, kinds: Collection[Kind] | None) -> bool:
    return kinds is None or file.facts.kind in kinds


def fitting(name: str, files: Sequence[IndexedFile], kinds: Collection[Kind] | None) -> IndexedFile:
    """The one of `files` that is of `kinds`. Raises `ModelError` where there is none, or more than one."""
    found = [file for file in files if fits(file, kinds)]
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(f"`{file.name}`" for file in found[:_MOST_NAMED])
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise ModelError(f"`{name}` means {len(found)} files: {named}{more}", hint="give one of these names")
    file, wanted = files[0], " or ".join(kinds or ())
    if file.facts.problem is not None:
        raise ModelError(file.facts.problem, hint="`gesso models list` shows which files can be used")
    raise ModelError(
        f"`{name}` is a file of the kind {file.facts.kind}, wanted is {wanted} (`{file.path}`)",
        hint="`gesso models list --kind KIND` shows those of a kind",
    )
