"""The header of a weights file, whatever its format."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gesso.core.errors import ModelError
from gesso.models.weights import AGAIN, MAX_DIMENSIONS

LARGEST = 2**63
"""Sizes are below it: those of any real tensor are, and so arithmetic with them stays cheap."""


class FileFormat(StrEnum):
    """How tensors are stored."""

    SAFETENSORS = "safetensors"
    TORCH_ZIP = "pytorch"
    """By `torch.save`: a zip of a pickle and of the tensors' bytes."""
    TORCH_PICKLE = "pytorch, before 2020"
    """One pickle after another, then the tensors' bytes."""
    GGUF = "gguf"


@dataclass(frozen=True, kw_only=True)
class TensorShape:
    """One tensor: how its values are stored and how many there are along each dimension."""

    dtype: str
    """As safetensors names it (`F16`), or of GGUF the name of its block format (`Q4_K`)."""
    shape: tuple[int, ...]
    """In the order of torch: [out, in] for a linear layer."""

    @property
    def values(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class WeightsHeader:
    """All that a weights file says before its weights."""

    format: FileFormat
    tensors: Mapping[str, TensorShape]
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """Plain facts beside the tensors, as text."""
    file_bytes: int = 0

    @property
    def values(self) -> int:
        """Number of weights."""
        return sum(tensor.values for tensor in self.tensors.values())

    def values_by_dtype(self) -> dict[str, int]:
        """Number of weights in each format, the most first."""
        counts: dict[str, int] = {}
        for tensor in self.tensors.values():
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.values
        return dict(sorted(counts.items(), key=lambda item: -item[1]))


class DamagedFileError(ModelError):
    """A weights file is cut off, or its header contradicts itself or the file."""

    def __init__(self, path: Path, problem: str, *, hint: str = AGAIN) -> None:
        super().__init__(f"`{path}` {problem}", hint=hint)


class UntrustedFileError(ModelError):
    """A weights file holds what weights need not and an attacker would: code, or a bomb."""

    def __init__(self, path: Path, problem: str, *, hint: str) -> None:
        super().__init__(f"`{path}` {problem}", hint=hint)


class NotWeightsError(ModelError):
    """A file holds something else than weights."""

    def __init__(self, path: Path, found: str, *, hint: str = AGAIN) -> None:
        super().__init__(f"`{path}` is not a file of weights: {found}", hint=hint)


def checked_shape(sizes: tuple[object, ...]) -> tuple[int, ...]:
    """`sizes`, if they can be those of a tensor; else `ValueError`."""
    if len(sizes) > MAX_DIMENSIONS:
        raise ValueError(f"a tensor of {len(sizes)} dimensions")
    shape = tuple(size for size in sizes if isinstance(size, int) and 0 <= size < LARGEST)
    if len(shape) < len(sizes):
        raise ValueError("a tensor's size is no whole number from 0")
    return shape
