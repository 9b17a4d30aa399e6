"""The values that stand for tensors, their bytes and whatever else a pickle of weights makes."""

from dataclasses import dataclass
from typing import Any, cast

from gesso.models.headers.base import checked_shape
from gesso.models.headers.globals import TORCH_DTYPES, TORCH_STORAGES, UNTYPED


@dataclass(frozen=True, kw_only=True)
class Global:
    """The name of a class or function. It is never imported."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Opaque:
    """What a call would have given that does not matter here."""

    made_by: str


@dataclass(frozen=True, kw_only=True)
class StoredBytes:
    """Where the bytes of tensors lie; several tensors may share them."""

    dtype: str | None
    """`None` where the tensor says it."""
    key: str
    values: int
    """Bytes, where there is no dtype."""


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor as a pickle describes it."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    """In values, from the beginning of the storage."""
    storage: StoredBytes

    @property
    def needed_values(self) -> int:
        """Values that the storage must have."""
        if 0 in self.shape:
            return 0
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        return self.offset + last + 1


class ForbiddenGlobalError(Exception):
    """A pickle names something that weights do not need."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class BrokenPickleError(Exception):
    """A pickle is no program that `pickle` would run to its end, or a far longer one than weights need."""


def storage_of(identity: Any) -> StoredBytes:
    """What `torch.save` writes instead of a tensor's bytes: ("storage", class, key, device, values, …)."""
    if not isinstance(identity, tuple):
        raise BrokenPickleError("it refers to something outside that has no name")
    kind, made_by, key, _device, values = cast("tuple[Any, ...]", identity)[:5]
    if kind != "storage" or not isinstance(made_by, Global) or not isinstance(key, str | int):
        raise BrokenPickleError("it refers to something outside that is no storage")
    dtype = TORCH_STORAGES.get(made_by.name.removeprefix("torch."))
    if dtype is None and made_by.name != UNTYPED:
        raise BrokenPickleError(f"`{made_by.name}` is no storage")
    (count,) = checked_shape((values,))
    return StoredBytes(dtype=dtype, key=str(key), values=count)


def tensor_of(storage: Any, offset: Any, size: Any, stride: Any, *, dtype: Any = None) -> StoredTensor:
    if not isinstance(storage, StoredBytes) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise BrokenPickleError("a tensor has no storage or no shape")
    told = TORCH_DTYPES.get(dtype.name.removeprefix("torch.")) if isinstance(dtype, Global) else storage.dtype
    shape, strides = checked_shape(size), checked_shape(stride)
    if told is None or len(shape) != len(strides):
        raise BrokenPickleError("a tensor has no format, or not one stride for each dimension")
    (begin,) = checked_shape((offset,))
    return StoredTensor(dtype=told, shape=shape, strides=strides, offset=begin, storage=storage)
