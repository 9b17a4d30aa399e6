"""Views: the tensors of a network where they lie in a file of another layout, and what makes them out of those."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gesso.models.headers.base import TensorShape
from gesso.models.weights import BITS


class Form(StrEnum):
    """How the values of a weight differ between the original layout and that of diffusers."""

    SAME = "same"
    CONVOLUTION = "convolution"
    """A 1x1 convolution [O, I, 1, 1] originally, a linear layer [O, I] in diffusers."""
    TRANSPOSED = "transposed"
    SWAPPED = "swapped halves"
    """Shift above scale originally, scale above shift in diffusers; the bias too."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One tensor of a network: a tensor of a file, or some rows of it."""

    key: str
    form: Form = Form.SAME
    rows: tuple[int, int] | None = None
    """First row and the one after the last; `None` is all."""
    stored: TensorShape
    """The tensor of the file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """In the network."""
        shape = self.stored.shape
        if self.rows is not None:
            shape = (self.rows[1] - self.rows[0], *shape[1:])
        if self.form is Form.TRANSPOSED:
            return shape[::-1]
        return shape[:2] if self.form is Form.CONVOLUTION else shape


@dataclass(frozen=True, kw_only=True)
class FileView:
    """All tensors of one network."""

    path: Path
    pieces: Mapping[str, Piece] = field(repr=False)
    """By the tensor's name in the network."""

    def bytes_by_dtype(self) -> dict[str, int]:
        """As stored."""
        sizes: dict[str, int] = {}
        for piece in self.pieces.values():
            size = TensorShape(dtype=piece.stored.dtype, shape=piece.shape).values * BITS[piece.stored.dtype] // 8
            sizes[piece.stored.dtype] = sizes.get(piece.stored.dtype, 0) + size
        return sizes

    @property
    def values(self) -> int:
        """Number of weights."""
        return sum(TensorShape(dtype=piece.stored.dtype, shape=piece.shape).values for piece in self.pieces.values())
