"""Names of weight files: short, no two alike in any spelling, and the same as long as the file stays where it is."""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from gesso.models.index.walk import FoundFile
from gesso.models.places import KIND_FOLDERS

DIFFUSERS_ADAPTER = "pytorch_lora_weights"
DIFFUSERS_EMBEDDING = "learned_embeds"
NAMED_BY_FOLDER = (DIFFUSERS_ADAPTER, DIFFUSERS_EMBEDDING)
"""What diffusers calls the file in the folder of an adapter or embedding: its name may then be the folder's."""


def folded(name: str) -> str:
    """Equal for names that differ in case or in how their accents are written, which some disks take for one."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name.casefold())


def assigned(found: Sequence[FoundFile], taken: Iterable[str] = ()) -> list[str]:
    """A name for each file: the first of its spellings that nobody before it has.

    Args:
        found: in the order of search.
        taken: names of model folders.
    """
    used = {folded(name) for name in taken}
    names: list[str] = []
    for file in found:
        name = _stem(_without_kind_folder(file.inside))
        if (spelt := folded(name)) in used:
            name = next(spelling for spelling in _unending(file) if folded(spelling) not in used)
            spelt = folded(name)
        used.add(spelt)
        names.append(name)
    return names


def spellings(file: FoundFile) -> list[str]:
    """What a person may call the file, the shortest unambiguous first: each finds it while no other has it too."""
    inside, short = file.inside, _without_kind_folder(file.inside)
    base = os.path.basename(inside)
    whole = f"{file.place.label}/{inside}"
    spelt = [_stem(short), inside, whole, _stem(inside), short, base, _stem(base)]
    if _stem(base) in NAMED_BY_FOLDER and (folder := os.path.dirname(short)):
        spelt += [folder, os.path.basename(folder)]
    return list(dict.fromkeys(spelt))


def _unending(file: FoundFile) -> Iterator[str]:
    first, inside, whole, *_ = spellings(file)
    yield from (first, inside, whole)
    yield f"{whole}~{hashlib.blake2b(os.fsencode(file.path), digest_size=4).hexdigest()}"
    number = 2
    while True:
        yield f"{whole}~{number}"
        number += 1


def _without_kind_folder(inside: str) -> str:
    """`lora/style/ink.safetensors` as `style/ink.safetensors`."""
    first, slash, rest = inside.partition("/")
    return rest if slash and first.lower() in KIND_FOLDERS else inside


def _stem(name: str) -> str:
    return name.rpartition(".")[0]  # a weight file has an ending
