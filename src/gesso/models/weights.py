"""Weight files, read without torch: what is in them, and whether all of it is there.

A safetensors file is the length of its header (8 bytes, little endian), the header (JSON: dtype, shape and byte
offsets of each tensor), then the tensors without gaps. So a truncated or altered file shows before anything is
loaded. Format: https://huggingface.co/docs/safetensors
"""

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from gesso.core.errors import ModelError

MAX_HEADER_BYTES = 100_000_000
"""More is refused, as by the safetensors library."""

BITS = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
    "C64": 64,
    "I64": 64,
    "U64": 64,
    "I32": 32,
    "U32": 32,
    "I16": 16,
    "U16": 16,
    "I8": 8,
    "U8": 8,
    "BOOL": 8,
}
"""Bits of one value, by the dtype's name in the header."""

DTYPE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Names that torch and `core.requests.Precision` use; other dtypes keep their name in the header."""

INDEX_SUFFIX = ".index.json"
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt"})
WEIGHT_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")
"""How files of weights end, the better first."""
_METADATA = "__metadata__"
MAX_DIMENSIONS = 64
"""As in torch."""
_TOO_LARGE = 2**63
_LFS_POINTER = b"version https://git-lfs"
AGAIN = "download or copy the file again"


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """One tensor of a file; offsets are bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def values(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header of a safetensors file."""

    path: Path
    tensors: Mapping[str, TensorEntry]
    header_bytes: int
    """With the 8 bytes of its length."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """What its maker wrote into it, as text."""

    @property
    def data_bytes(self) -> int:
        return max((tensor.end for tensor in self.tensors.values()), default=0)

    @property
    def values(self) -> int:
        """Number of weights."""
        return sum(tensor.values for tensor in self.tensors.values())

    def bytes_by_dtype(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for tensor in self.tensors.values():
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.end - tensor.begin
        return sizes


def read_header(path: Path) -> Header:
    """Read the header alone; the tensors behind it may be missing, see `verify_file`.

    Raises:
        ModelError: no such file, or it does not begin as a safetensors file does.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            if size == 0:
                raise ModelError(f"`{path}` is empty", hint=AGAIN)
            if _LFS_POINTER.startswith(prefix) and len(prefix) == 8:
                raise ModelError(
                    f"`{path}` is a Git LFS pointer, not the weights", hint="run `git lfs pull` in its folder"
                )
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or length > MAX_HEADER_BYTES:
                raise ModelError(f"`{path}` is not a safetensors file", hint=AGAIN)
            if 8 + length > size:
                raise ModelError(
                    f"`{path}` is truncated: its header needs {8 + length} bytes, found {size}", hint=AGAIN
                )
            text = file.read(length)
    except OSError as error:
        raise ModelError(f"`{path}` could not be read: {error.strerror or error}", hint=AGAIN) from error
    try:
        entries = json.loads(text, object_pairs_hook=_without_twins)
        tensors = {name: _entry(entry) for name, entry in entries.items() if name != _METADATA}
        metadata = {str(key): str(value) for key, value in (entries.get(_METADATA) or {}).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"The header of `{path}` is damaged: {error}", hint=AGAIN) from error
    return Header(path=path, tensors=tensors, header_bytes=8 + length, metadata=metadata)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Readers differ in which of two entries of one name they take."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        seen: set[str] = set()
        twin = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"`{twin}` is there twice")
    return entries


def _entry(entry: Any) -> TensorEntry:
    begin, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(isinstance(number, int) and 0 <= number < _TOO_LARGE for number in (begin, end, *shape)):
        raise ValueError(f"sizes and offsets must be whole numbers from 0, found {str(entry)[:200]}")
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"a tensor of {len(shape)} dimensions")
    return TensorEntry(dtype=str(entry["dtype"]), shape=shape, begin=begin, end=end)


def verify_file(path: Path) -> Header | None:
    """Check one weight file as far as is possible without loading it.

    Returns:
        The header, or `None` for a pickle, of which only the container can be checked (it is loaded weights-only).

    Raises:
        ModelError: it is missing, empty, truncated, longer than its header says, or its header lies.
    """
    if path.suffix in PICKLE_SUFFIXES:
        _verify_pickle(path)
        return None
    return verify_safetensors(path)


def verify_safetensors(path: Path) -> Header:
    """Read the header, and check it against itself and against the length of the file.

    Raises:
        ModelError: as `verify_file`.
    """
    header = read_header(path)
    _verify_offsets(header)
    found, expected = path.stat().st_size, header.header_bytes + header.data_bytes
    if found < expected:
        raise ModelError(f"`{path}` is truncated: {found} of {expected} bytes are there", hint=AGAIN)
    if found > expected:
        raise ModelError(f"`{path}` is damaged: {found} bytes found, its header describes {expected}", hint=AGAIN)
    return header


def _verify_offsets(header: Header) -> None:
    """Tensors follow each other without gap or overlap, each as long as its shape and dtype say."""
    position = 0
    for name, tensor in sorted(header.tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.dtype not in BITS:
            raise ModelError(f"`{name}` in `{header.path}` has the unknown dtype `{tensor.dtype}`", hint=AGAIN)
        if tensor.begin != position:
            what = "overlaps the tensor before it" if tensor.begin < position else "leaves a gap before it"
            raise ModelError(
                f"`{name}` in `{header.path}` {what}: begins at {tensor.begin}, not {position}", hint=AGAIN
            )
        expected = tensor.values * BITS[tensor.dtype] // 8
        if tensor.end - tensor.begin != expected:
            raise ModelError(
                f"`{name}` in `{header.path}` has {tensor.end - tensor.begin} bytes, its shape needs {expected}",
                hint=AGAIN,
            )
        position = tensor.end


def _verify_pickle(path: Path) -> None:
    """A file by `torch.save` is a zip (its directory is at the end, so truncation shows) or, until 2020, a pickle."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
        if start.startswith(b"PK") and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                expected = sum(member.file_size for member in archive.infolist())
            if expected <= size:
                return
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"`{path}` could not be read: {error}", hint=AGAIN) from error
    if size == 0:
        raise ModelError(f"`{path}` is empty", hint=AGAIN)
    if start == _LFS_POINTER:
        raise ModelError(f"`{path}` is a Git LFS pointer, not the weights", hint="run `git lfs pull` in its folder")
    if not start.startswith(b"\x80"):  # the first byte of every binary pickle
        what = "truncated" if start.startswith(b"PK") else "not a file of weights"
        raise ModelError(f"`{path}` is {what}", hint=AGAIN)


def read_index(path: Path) -> Mapping[str, str]:
    """The index of weights in several files: tensor name to file name.

    Raises:
        ModelError: it is not such an index, or names a file outside its own folder.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        shards = cast(dict[Any, Any], content["weight_map"])
        known = {str(name): str(shard) for name, shard in shards.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"`{path}` is not an index of weight files: {error}", hint=AGAIN) from error
    for shard in known.values():
        if Path(shard).name != shard:
            raise ModelError(f"`{path}` names `{shard}`, which is not in its own folder", hint=AGAIN)
    return known


def verify_shards(index: Path, headers: Mapping[str, Header | None]) -> None:
    """Check that every tensor an index promises is in the file it names.

    Args:
        headers: by file name; `None` for pickles, which cannot be looked into.

    Raises:
        ModelError: a tensor is not where the index says.
    """
    for tensor, shard in read_index(index).items():
        header = headers.get(shard)
        if header is not None and tensor not in header.tensors:
            raise ModelError(f"`{index.parent / shard}` lacks `{tensor}`, which `{index.name}` promises", hint=AGAIN)
