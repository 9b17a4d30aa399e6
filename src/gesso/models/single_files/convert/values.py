"""The values of a tensor that is to be written, as places where they lie: nothing is read until it is written."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gesso.models.headers.places import Place
from gesso.models.views import Form, Piece
from gesso.models.weights import BITS


@dataclass(frozen=True, kw_only=True)
class Span:
    """Some values of one stored tensor, in its order."""

    key: str
    place: Place
    begin: int
    end: int
    """Numbers of the first value and of the one after the last."""

    @property
    def width(self) -> int:
        """Bytes of a value as stored."""
        return BITS[self.place.tensor.dtype] // 8


@dataclass(frozen=True, kw_only=True)
class Values:
    """A tensor made of spans, one after the other."""

    dtype: str
    """As stored; the name in safetensors. `F32` where the spans differ."""
    shape: tuple[int, ...]
    spans: tuple[Span, ...]
    transposed: bool = False
    """The spans are those of a matrix whose rows are the columns of this one."""

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def with_form(self, form: Form) -> "Values":
        """What the other layout has: every form but `CONVOLUTION` undoes itself."""
        match form:
            case Form.SAME:
                return self
            case Form.CONVOLUTION:
                return replace(self, shape=(*self.shape, 1, 1) if len(self.shape) == 2 else self.shape)
            case Form.TRANSPOSED:
                return replace(self, shape=self.shape[::-1], transposed=not self.transposed)
            case Form.SWAPPED:
                half = self.count // 2
                return replace(self, spans=(*_cut(self.spans, half, self.count), *_cut(self.spans, 0, half)))


def values_of(piece: Piece, place: Place) -> Values:
    """A tensor of a network, from the tensor of a file that it is or is in."""
    row = math.prod(piece.stored.shape[1:])
    begin, end = (0, piece.stored.values) if piece.rows is None else (piece.rows[0] * row, piece.rows[1] * row)
    values = Values(
        dtype=piece.stored.dtype,
        shape=piece.shape[::-1] if piece.form is Form.TRANSPOSED else piece.shape,
        spans=(Span(key=piece.key, place=place, begin=begin, end=end),),
    )
    return values if piece.form is Form.CONVOLUTION else values.with_form(piece.form)


def joined(parts: list[Values]) -> Values:
    """One below the other."""
    first, *others = parts
    if not others:
        return first
    rows = sum(part.shape[0] for part in parts)
    dtype = first.dtype if all(part.dtype == first.dtype for part in others) else "F32"
    return replace(
        first, dtype=dtype, shape=(rows, *first.shape[1:]), spans=tuple(span for part in parts for span in part.spans)
    )


def _cut(spans: Iterable[Span], begin: int, end: int) -> Iterable[Span]:
    """The spans of the values from `begin` to `end`, counted over all of them."""
    position = 0
    for span in spans:
        length = span.end - span.begin
        low, high = max(begin - position, 0), min(end - position, length)
        if low < high:
            yield replace(span, begin=span.begin + low, end=span.begin + high)
        position += length
