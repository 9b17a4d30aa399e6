"""Writing safetensors files: the header first, then the bytes of each tensor as they come."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

from gesso.models.headers.base import TensorShape
from gesso.models.single_files.convert.archive import Contents
from gesso.models.weights import BITS, MAX_HEADER_BYTES

_ALIGNMENT = 8


def in_order(tensors: Mapping[str, TensorShape]) -> list[str]:
    """The names in the order of writing: the widest numbers first, so that all of them are aligned."""
    return sorted(tensors, key=lambda name: (-BITS[tensors[name].dtype], name))


def write_safetensors(
    file: BinaryIO, tensors: Mapping[str, TensorShape], contents: Contents, metadata: Mapping[str, str]
) -> None:
    """Write a file.

    Args:
        contents: the bytes of each tensor, in the order of `in_order(tensors)`.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name in in_order(tensors):
        tensor = tensors[name]
        end = position + tensor.values * BITS[tensor.dtype] // 8
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    assert len(text) <= MAX_HEADER_BYTES
    file.write(len(text).to_bytes(8, "little") + text)
    _write_all(file, contents)


def _write_all(file: BinaryIO, contents: Iterable[tuple[str, Iterable[bytes]]]) -> None:
    for _, chunks in contents:
        for chunk in chunks:
            file.write(chunk)
