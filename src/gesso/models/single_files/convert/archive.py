"""Writing files of torch's: a zip of a pickle that describes the tensors, and of their bytes.

Only tensors and texts are described, with the few opcodes that take; https://docs.python.org/3/library/pickletools.html
and https://docs.pytorch.org/docs/stable/notes/serialization.html have the formats.
"""

import math
import struct
import zipfile
from collections.abc import Iterable, Mapping
from typing import BinaryIO

from gesso.core.errors import ModelError
from gesso.models.headers.base import TensorShape
from gesso.models.headers.globals import TORCH_STORAGES
from gesso.models.weights import BITS

_FOLDER = "archive"
_ALIGNMENT = 64
"""Of the bytes of each tensor, as torch has it, so that they can be mapped."""
_STORAGES = {dtype: name for name, dtype in reversed(TORCH_STORAGES.items()) if not name.startswith("Q")}
_LOCAL_HEADER_BYTES, _SIZES_BYTES = 30, 20
_LARGE = 2**31
_DATE = (1980, 1, 1, 0, 0, 0)  # so that the same weights are the same file

Contents = Iterable[tuple[str, Iterable[bytes]]]


def check_archivable(tensors: Mapping[str, TensorShape]) -> None:
    """Raises `ModelError` if one has a format that files of torch's do not have."""
    for name, tensor in tensors.items():
        if tensor.dtype not in _STORAGES:
            raise ModelError(
                f"`{name}` is stored as {tensor.dtype}, which a `.ckpt` does not hold",
                hint="convert to `.safetensors`, or with `--dtype float16`",
            )


def write_archive(
    file: BinaryIO, tensors: Mapping[str, TensorShape], contents: Contents, facts: Mapping[str, str]
) -> None:
    """Write a checkpoint: `{"state_dict": tensors}` and the facts beside it.

    Args:
        contents: the bytes of each tensor, in the order of `tensors`.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "data.pkl", [_pickle(tensors, facts)])
        _add(archive, "byteorder", [b"little"])
        for index, (name, chunks) in enumerate(contents):
            size = tensors[name].values * BITS[tensors[name].dtype] // 8
            _add(archive, f"data/{index}", chunks, size=size)
        _add(archive, "version", [b"3\n"])


def _add(archive: zipfile.ZipFile, name: str, chunks: Iterable[bytes], *, size: int = 0) -> None:
    member = zipfile.ZipInfo(f"{_FOLDER}/{name}", _DATE)
    large = size >= _LARGE
    begin = archive.start_dir + _LOCAL_HEADER_BYTES + len(member.filename) + (_SIZES_BYTES if large else 0) + 4
    padding = -begin % _ALIGNMENT
    member.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    with archive.open(member, "w", force_zip64=large) as stored:
        for chunk in chunks:
            stored.write(chunk)


def _pickle(tensors: Mapping[str, TensorShape], facts: Mapping[str, str]) -> bytes:
    state = (_text(name) + _tensor(index, tensor) for index, (name, tensor) in enumerate(tensors.items()))
    root = [_text("state_dict") + _dict(state), *(_text(name) + _text(value) for name, value in facts.items())]
    return b"\x80\x02" + _dict(root) + b"."


def _dict(items: Iterable[bytes]) -> bytes:
    return b"}(" + b"".join(items) + b"u"


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _number(number: int) -> bytes:
    if -_LARGE <= number < _LARGE:
        return b"J" + struct.pack("<i", number)
    encoded = number.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def _tuple(items: Iterable[bytes]) -> bytes:
    return b"(" + b"".join(items) + b"t"


def _tensor(index: int, tensor: TensorShape) -> bytes:
    """A call of the function that torch makes tensors with: of a storage, by its name outside the pickle."""
    storage = _tuple(
        [
            _text("storage"),
            f"ctorch\n{_STORAGES[tensor.dtype]}\n".encode(),
            _text(str(index)),
            _text("cpu"),
            _number(tensor.values),
        ]
    )
    strides = [math.prod(tensor.shape[dimension + 1 :]) for dimension in range(len(tensor.shape))]
    arguments = [
        storage + b"Q",
        _number(0),
        _tuple(map(_number, tensor.shape)),
        _tuple(map(_number, strides)),
        b"\x89",  # no gradients
        b"ccollections\nOrderedDict\n)R",  # no hooks
    ]
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + _tuple(arguments) + b"R"
