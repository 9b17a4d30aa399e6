"""Files by `torch.save`: the zip of today and the pickles of before 2020, of which no code is ever run.

Zip: `NAME/data.pkl` describes the tensors, `NAME/data/KEY` are the bytes of one storage. Before: a magic number, the
version, facts of the system, the description and the keys of the storages, each a pickle, then each storage as its
length and its bytes. https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

from gesso.models.headers.base import (
    DamagedFileError,
    FileFormat,
    NotWeightsError,
    TensorShape,
    UntrustedFileError,
    WeightsHeader,
)
from gesso.models.headers.pickles import read_pickle
from gesso.models.headers.stored import BrokenPickleError, ForbiddenGlobalError, StoredBytes, StoredTensor
from gesso.models.weights import BITS

T = TypeVar("T")

MAX_PICKLE_BYTES = 64 * 2**20
"""The description of a checkpoint takes some hundred kilobytes."""
MAX_RATIO = 100
"""Of compressed to plain bytes. `torch.save` does not compress; weights that somebody zipped shrink to a half."""
MAX_DEPTH = 12
"""Of dicts in dicts in which tensors are looked for."""
MAX_TENSORS = 200_000
_DESCRIPTION = "data.pkl"
_MAGIC = 0x1950A86A20F9469CFC6C
_SAFE = "do not load it; get a `.safetensors` file of the same weights"
_ENCRYPTED = 1


def read_torch_zip(path: Path) -> WeightsHeader:
    """Read the description in the zip at `path`.

    Raises:
        ModelError: it is cut off, not by `torch.save`, a bomb, or names a global that weights do not need.
    """
    root, storages = _opened(path)
    stored = {key: member.file_size for key, member in storages.items()}
    return _header(path, FileFormat.TORCH_ZIP, root, stored, path.stat().st_size)


def stored_in_zip(path: Path) -> tuple[dict[str, StoredTensor], dict[str, zipfile.ZipInfo]]:
    """(every tensor in the zip at `path` by its name, the member that holds each storage by the storage's key)

    Raises:
        ModelError: as `read_torch_zip`.
    """
    root, storages = _opened(path)
    stored = {key: member.file_size for key, member in storages.items()}
    _header(path, FileFormat.TORCH_ZIP, root, stored, path.stat().st_size)
    return dict(_tensors(root)), storages


def _opened(path: Path) -> tuple[Any, dict[str, zipfile.ZipInfo]]:
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            _refuse_bombs(path, members)
            if (packed := sum(member.compress_size for member in members.values())) > size:
                raise DamagedFileError(path, f"is truncated: its parts need {packed} bytes, found {size}")
            name = _description(path, members)
            with archive.open(name) as file:
                text = file.read(MAX_PICKLE_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError) as error:
        raise DamagedFileError(path, f"is truncated or damaged: {error}") from error
    if len(text) > MAX_PICKLE_BYTES:  # more than its directory said
        raise _bomb(path, name, "unpacks to more than it declares")
    folder = name.removesuffix(_DESCRIPTION)
    storages = {key.removeprefix(f"{folder}data/"): member for key, member in members.items()}
    return _value(path, BytesIO(text)), storages


def read_torch_pickle(path: Path) -> WeightsHeader:
    """Read the pickles at the beginning of `path`.

    Raises:
        ModelError: as `read_torch_zip`.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        stream = BytesIO(file.read(MAX_PICKLE_BYTES))
    root = _value(path, stream)
    if root != _MAGIC:  # a plain pickle, its tensors if any within
        return _header(path, FileFormat.TORCH_PICKLE, root, {}, size)
    for _ in ("version", "system"):
        _value(path, stream)
    root = _value(path, stream)
    _value(path, stream)  # the keys
    header = _header(path, FileFormat.TORCH_PICKLE, root, None, size)
    needed = stream.tell() + sum(8 + _bytes(storage) for storage in _storages(root).values())
    if needed > size:
        raise DamagedFileError(path, f"is truncated: its tensors need {needed} bytes, found {size}")
    return header


def _refuse_bombs(path: Path, members: Mapping[str, zipfile.ZipInfo]) -> None:
    for name, member in members.items():
        if member.flag_bits & _ENCRYPTED:
            raise DamagedFileError(path, f"holds `{name[:200]}`, which is encrypted", hint="unpack and save it again")
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise DamagedFileError(path, f"packs `{name[:200]}` in a way that torch does not")
        if member.file_size > MAX_RATIO * max(member.compress_size, 1024):
            raise _bomb(path, name, f"unpacks {member.compress_size} bytes to {member.file_size}")
        if name.endswith(f"/{_DESCRIPTION}") and member.file_size > MAX_PICKLE_BYTES:
            raise _bomb(path, name, f"is {member.file_size} bytes long, at most {MAX_PICKLE_BYTES} are read")


def _bomb(path: Path, name: str, problem: str) -> UntrustedFileError:
    return UntrustedFileError(path, f"is a zip bomb or damaged: `{name[:200]}` {problem}", hint=_SAFE)


def _description(path: Path, members: Mapping[str, zipfile.ZipInfo]) -> str:
    found = [name for name in members if name == _DESCRIPTION or name.endswith(f"/{_DESCRIPTION}")]
    if len(found) != 1:
        what = f"a zip with {len(found)} `{_DESCRIPTION}`" if found else f"a zip without `{_DESCRIPTION}`"
        raise NotWeightsError(path, what, hint="if it is a packed folder, unpack it and name what is inside")
    return found[0]


def _value(path: Path, stream: BytesIO) -> Any:
    try:
        return read_pickle(stream)
    except ForbiddenGlobalError as error:
        raise UntrustedFileError(
            path, f"names `{error.name[:200]}`, which weights do not need: loading it could run code", hint=_SAFE
        ) from error
    except BrokenPickleError as error:
        raise DamagedFileError(path, f"is damaged: its pickle cannot be read: {str(error)[:200]}") from error


def _header(
    path: Path, file_format: FileFormat, root: Any, stored: Mapping[str, int] | None, size: int
) -> WeightsHeader:
    """The tensors in `root`, each checked.

    Args:
        stored: bytes of each storage that is there; `None` leaves that to the caller.
    """
    tensors = dict(islice(_tensors(root), MAX_TENSORS + 1))
    if len(tensors) > MAX_TENSORS:
        raise UntrustedFileError(path, f"describes more than {MAX_TENSORS:,} tensors", hint=_SAFE)
    if not tensors:
        raise NotWeightsError(path, "a pickle without tensors")
    for name, tensor in tensors.items():
        _check_extent(path, name, tensor, stored)
    return WeightsHeader(
        format=file_format,
        tensors={name: TensorShape(dtype=tensor.dtype, shape=tensor.shape) for name, tensor in tensors.items()},
        metadata=_facts(root),
        file_bytes=size,
    )


def _check_extent(path: Path, name: str, tensor: StoredTensor, stored: Mapping[str, int] | None) -> None:
    needed = tensor.needed_values * _bits(tensor.dtype) // 8
    declared = _bytes(tensor.storage)
    if needed > declared:
        problem = f"`{name[:200]}` needs {needed} bytes, its storage has {declared}"
        raise DamagedFileError(path, f"is damaged: {problem}")
    found = declared if stored is None else stored.get(tensor.storage.key)
    if found is None or found < declared:
        raise DamagedFileError(path, f"is truncated: `{name[:200]}` needs {declared} bytes, found {found or 0}")


def _bits(dtype: str) -> int:
    return BITS.get(dtype, 128)  # only complex numbers of double width are not in the table


def _bytes(storage: StoredBytes) -> int:
    return storage.values * _bits(storage.dtype) // 8 if storage.dtype else storage.values


def _storages(root: Any) -> dict[str, StoredBytes]:
    return {tensor.storage.key: tensor.storage for _, tensor in _tensors(root)}


def _state(root: Any) -> Any:
    """The state dict in the wrapper that trainers put round it."""
    for _ in range(MAX_DEPTH):  # a dict may hold itself
        if not isinstance(root, dict) or not isinstance(inner := cast("dict[Any, Any]", root).get("state_dict"), dict):
            break
        root = cast(Any, inner)
    return cast(Any, root)


def _tensors(root: Any) -> Iterator[tuple[str, StoredTensor]]:
    return named_tensors(root, StoredTensor)


def named_tensors(root: Any, kind: type[T]) -> Iterator[tuple[str, T]]:
    """Every tensor in what a pickle holds, with its path, parts joined by dots.

    A container met again is passed over: it may hold itself.

    Args:
        kind: what stands for a tensor: one of torch, or where it is stored.
    """
    pending: list[tuple[str, Any, int]] = [("", _state(root), 0)]
    seen: set[int] = set()
    while pending:
        name, value, depth = pending.pop()
        if isinstance(value, kind):
            yield name, value
        elif isinstance(value, dict | list | tuple) and id(cast(Any, value)) not in seen and depth < MAX_DEPTH:
            seen.add(id(cast(Any, value)))
            prefix = f"{name}." if name else ""
            items: Any = value.items() if isinstance(value, dict) else enumerate(value)
            pending += [(f"{prefix}{key}", item, depth + 1) for key, item in reversed(list(items))]


def _facts(root: Any) -> dict[str, str]:
    """Plain values beside the tensors: `global_step`, `name`, …"""
    if not isinstance(root, dict):
        return {}
    facts = cast("dict[Any, Any]", root)
    return {
        str(key): str(value)
        for key, value in facts.items()
        if isinstance(value, str | bool | float) or (isinstance(value, int) and abs(value) < 2**63)
    }
