"""Where the values of each tensor lie in a weights file, so that one can be read without the others.

Of a pickle the header's own reading is used, which runs no code at all, and of its zip the bytes.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from gesso.core.errors import ModelError
from gesso.models.headers.base import DamagedFileError, FileFormat, TensorShape
from gesso.models.headers.read import format_of
from gesso.models.headers.stored import StoredTensor
from gesso.models.headers.torch_files import stored_in_zip
from gesso.models.weights import BITS, verify_safetensors

_LOCAL_HEADER_BYTES = 30
_AGAIN = "load it with torch and save it again, or get it as `.safetensors`"


@dataclass(frozen=True, kw_only=True)
class Place:
    """The values of one tensor in a file."""

    path: Path
    begin: int
    """Byte of the first value."""
    tensor: TensorShape
    strides: tuple[int, ...] | None = None
    """In values, where they do not follow each other in the order of the shape."""


def places_of(path: Path) -> Mapping[str, Place]:
    """Every tensor of the file at `path`, by its key.

    Raises:
        ModelError: the file is damaged or not to be trusted, or is of a format whose values cannot be read one by one.
    """
    file_format = format_of(path)
    status = path.stat()
    return _places(path, file_format, status.st_ino, status.st_ctime_ns, status.st_size)


@lru_cache(maxsize=8)
def _places(path: Path, file_format: FileFormat, *_state: int) -> Mapping[str, Place]:
    """Read once for each state of the file: a description in a pickle takes a while."""
    match file_format:
        case FileFormat.SAFETENSORS:
            header = verify_safetensors(path)
            return {
                key: Place(
                    path=path,
                    begin=header.header_bytes + entry.begin,
                    tensor=TensorShape(dtype=entry.dtype, shape=entry.shape),
                )
                for key, entry in header.tensors.items()
            }
        case FileFormat.TORCH_ZIP:
            return _in_zip(path)
        case other:
            raise ModelError(f"`{path}` is a file of {other}, which is not converted", hint=_AGAIN)


def _in_zip(path: Path) -> dict[str, Place]:
    tensors, members = stored_in_zip(path)
    with path.open("rb") as file:
        begins: dict[str, int] = {}
        for key in {tensor.storage.key for tensor in tensors.values()}:
            member = members[key]
            if member.compress_type != zipfile.ZIP_STORED:
                raise ModelError(f"`{path}` is compressed, which torch's files are not", hint=_AGAIN)
            file.seek(member.header_offset)
            local = file.read(_LOCAL_HEADER_BYTES)
            names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
            begins[key] = member.header_offset + _LOCAL_HEADER_BYTES + names
    return {name: _place(path, name, tensor, begins) for name, tensor in tensors.items()}


def _place(path: Path, name: str, tensor: StoredTensor, begins: Mapping[str, int]) -> Place:
    if tensor.dtype not in BITS:
        raise DamagedFileError(path, f"holds `{name}` as {tensor.dtype}, which no network has", hint=_AGAIN)
    return Place(
        path=path,
        begin=begins[tensor.storage.key] + tensor.offset * BITS[tensor.dtype] // 8,
        tensor=TensorShape(dtype=tensor.dtype, shape=tensor.shape),
        strides=None if _one_after_the_other(tensor) else tensor.strides,
    )


def _one_after_the_other(tensor: StoredTensor) -> bool:
    expected = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size != 1 and stride != expected:
            return 0 in tensor.shape
        expected *= size
    return True
