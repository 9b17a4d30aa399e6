"""Which rows of which calls go into which slots of which forwards. Arithmetic only."""

from collections.abc import Sequence
from dataclasses import dataclass

from gesso.core.recipe import Segment
from gesso.core.settings import MOST_ROWS


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Rows `start` to `start + rows` of call `call` (index into the batch), from slot `slot` on."""

    call: int
    start: int
    rows: int
    slot: int


@dataclass(frozen=True, kw_only=True)
class Forward:
    """One run of the network on `batch_rows` rows; slots that no piece covers are padding."""

    pieces: tuple[Piece, ...]
    batch_rows: int

    @property
    def live_rows(self) -> int:
        return sum(piece.rows for piece in self.pieces)


def place(rows: Sequence[int], *, max_rows: int, bucket_rows: int | None) -> list[Forward]:
    """Forwards for calls of `rows[i]` rows that agree.

    Args:
        max_rows: rows of a forward at most; a call with more is split.
        bucket_rows: if given, every forward has exactly so many rows, so that no call's bytes depend on its company.
    """
    limit = bucket_rows or max_rows
    forwards: list[Forward] = []
    pieces: list[Piece] = []
    filled = 0

    def close() -> None:
        nonlocal filled
        if pieces:
            forwards.append(Forward(pieces=tuple(pieces), batch_rows=bucket_rows or filled))
            pieces.clear()
            filled = 0

    for call, count in enumerate(rows):
        if filled + count > limit:
            close()  # a call is not torn apart to fill a gap: a guidance pair stays together
        start = 0
        while count - start > 0:
            taken = min(count - start, limit - filled)
            pieces.append(Piece(call=call, start=start, rows=taken, slot=filled))
            filled += taken
            start += taken
            if filled == limit:
                close()
    close()
    return forwards


def fits(segments: Sequence[Segment], rows: int) -> bool:
    """Whether a call of `rows` rows can run in `segments`, each inside a forward of a size that can be."""
    inside = all(
        each.slot >= 0 and 1 <= each.rows <= each.batch_rows - each.slot and each.batch_rows <= MOST_ROWS
        for each in segments
    )
    return inside and sum(each.rows for each in segments) == rows


def place_again(segments: Sequence[Segment]) -> list[Forward]:
    """The forwards of one call as it was recorded; the rows of others become padding."""
    forwards: list[Forward] = []
    start = 0
    for segment in segments:
        piece = Piece(call=0, start=start, rows=segment.rows, slot=segment.slot)
        forwards.append(Forward(pieces=(piece,), batch_rows=segment.batch_rows))
        start += segment.rows
    return forwards


def segments_of(call: int, forwards: Sequence[Forward]) -> tuple[Segment, ...]:
    """Where the rows of `call` ran, in the order of its rows."""
    return tuple(
        Segment(slot=piece.slot, rows=piece.rows, batch_rows=forward.batch_rows)
        for forward in forwards
        for piece in forward.pieces
        if piece.call == call
    )
