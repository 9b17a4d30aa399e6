"""The header of a GGUF file: facts by name, then name, shape, format and place of each tensor.

All numbers are little endian; lengths and counts are checked against the file before anything is made of them.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gesso.models.headers.base import DamagedFileError, FileFormat, TensorShape, WeightsHeader, checked_shape

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_TENSORS = 100_000
MAX_FACTS = 100_000
MAX_ITEMS = 3_000_000
"""Texts in all lists together, and lists. The vocabulary of a language model has some hundred thousand."""
MAX_TEXT_BYTES = 2**24
MAX_FACT_CHARACTERS = 1000
_ALIGNMENT = "general.alignment"

_NUMBERS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q", 12: "<d"}
"""Kinds of numbers by the code of their kind, as `struct` writes them."""
_TEXT, _LIST = 8, 9

BLOCKS = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
"""Formats by their code: name, values in a block, bytes of a block. From `ggml.h`."""


@dataclass(frozen=True, kw_only=True)
class _Placed:
    tensor: TensorShape
    begin: int
    """From the end of the header."""
    size_bytes: int | None
    """`None` for a format that is not in the table."""


def read_gguf(path: Path) -> WeightsHeader:
    """Read the header of `path`.

    Raises:
        ModelError: it is cut off, of another version, or its counts and offsets cannot be.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        reader = _Reader(file, size)
        try:
            metadata, placed, alignment = _parsed(path, reader)
        except (ValueError, struct.error, OverflowError) as error:
            raise DamagedFileError(path, f"is truncated or damaged: {error}") from error
        begin = -(-reader.position // alignment) * alignment
    _check_places(path, placed, size - begin)
    return WeightsHeader(
        format=FileFormat.GGUF,
        tensors={name: entry.tensor for name, entry in placed.items()},
        metadata=metadata,
        file_bytes=size,
    )


class _Reader:
    """Takes values off a file and never more than is left of it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self.position = 0
        self._items = 0

    def take(self, count: int) -> bytes:
        self.skip(count, seek=False)
        return self._file.read(count)

    def skip(self, count: int, *, seek: bool = True) -> None:
        if count > self._size - self.position:
            raise ValueError(f"at byte {self.position} it needs {count} more, found {self._size - self.position}")
        self.position += count
        if seek:
            self._file.seek(count, 1)

    def number(self, form: str) -> int:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return value

    def text(self) -> str:
        length = self.number("<Q")
        if length > MAX_TEXT_BYTES:
            raise ValueError(f"a text of {length} bytes")
        return self.take(length).decode("utf-8", "replace")

    def fact(self, kind: int, *, depth: int = 0) -> str:
        """One value as text; of a list, only how many there are."""
        if kind in _NUMBERS:
            return str(self.number(_NUMBERS[kind]))
        if kind == _TEXT:
            return self.text()[:MAX_FACT_CHARACTERS]
        if kind != _LIST or depth > 2:
            raise ValueError(f"a value of the unknown kind {kind}")
        inner, count = self.number("<I"), self.number("<Q")
        if inner in _NUMBERS:
            self.skip(count * struct.calcsize(_NUMBERS[inner]))
        else:
            self._items += count
            if self._items > MAX_ITEMS:
                raise ValueError(f"a list of {count} items")
            one: Callable[[], object] = self._pass_text if inner == _TEXT else lambda: self.fact(inner, depth=depth + 1)
            for _ in range(count):
                one()
        return f"{count} items"

    def _pass_text(self) -> None:
        self.take(self.number("<Q"))


def _parsed(path: Path, reader: _Reader) -> tuple[dict[str, str], dict[str, _Placed], int]:
    """(facts, tensors, alignment of the data)"""
    reader.skip(len(MAGIC))
    version = reader.number("<I")
    if version not in VERSIONS:
        raise DamagedFileError(
            path, f"is GGUF of version {version}; 2 and 3 can be read", hint="convert it with the tools of ggml"
        )
    tensor_count, fact_count = reader.number("<Q"), reader.number("<Q")
    if tensor_count > MAX_TENSORS or fact_count > MAX_FACTS:
        raise ValueError(f"it announces {tensor_count} tensors and {fact_count} facts")
    facts: dict[str, str] = {}
    for _ in range(fact_count):
        name = reader.text()
        facts[name] = reader.fact(reader.number("<I"))
    placed: dict[str, _Placed] = {}
    for _ in range(tensor_count):
        name = reader.text()
        if name in placed:
            raise ValueError(f"`{name[:200]}` is there twice")
        placed[name] = _tensor(reader)
    alignment = facts.get(_ALIGNMENT, "32")
    if not alignment.isascii() or not alignment.isdigit() or not 0 < int(alignment[:10]) <= 2**20:
        raise ValueError(f"an alignment of {alignment}")
    return facts, placed, int(alignment)


def _tensor(reader: _Reader) -> _Placed:
    dimensions = reader.number("<I")
    if dimensions > 8:
        raise ValueError(f"a tensor of {dimensions} dimensions")
    sizes = tuple(reader.number("<Q") for _ in range(dimensions))
    kind, begin = reader.number("<I"), reader.number("<Q")
    shape = checked_shape(sizes[::-1])  # the fastest dimension comes first
    name, block, block_bytes = BLOCKS.get(kind, (f"ggml type {kind}", 0, 0))
    tensor = TensorShape(dtype=name, shape=shape)
    return _Placed(tensor=tensor, begin=begin, size_bytes=-(-tensor.values // block) * block_bytes if block else None)


def _check_places(path: Path, placed: Mapping[str, _Placed], data_bytes: int) -> None:
    """Every tensor lies in the file, and none over another one."""
    end = 0
    for name, entry in sorted(placed.items(), key=lambda item: (item[1].begin, item[1].size_bytes or 0)):
        last = entry.begin + (entry.size_bytes or 0)
        if last > data_bytes:
            found = max(data_bytes, 0)
            raise DamagedFileError(path, f"is truncated: `{name[:200]}` ends at {last} of the data, found {found}")
        if entry.begin < end and entry.size_bytes:
            raise DamagedFileError(path, f"is damaged: `{name[:200]}` overlaps the tensor before it")
        end = max(end, last)
