"""Placing rows: every row runs once, nothing overlaps, limits hold, and what was recorded can be placed again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesso.components.slots import Forward, Piece, place, place_again, segments_of
from gesso.core.recipe import Segment

ROWS = st.lists(st.integers(min_value=1, max_value=11), min_size=1, max_size=12)
LIMITS = st.integers(min_value=1, max_value=8)
BUCKETS = st.sampled_from([None, 1, 2, 4, 8])


def rows_of(call: int, forwards: list[Forward]) -> list[int]:
    return [
        row
        for forward in forwards
        for piece in forward.pieces
        if piece.call == call
        for row in range(piece.start, piece.start + piece.rows)
    ]


@given(rows=ROWS, max_rows=LIMITS, bucket=BUCKETS)
def test_every_row_of_every_call_runs_once_and_in_order(rows: list[int], max_rows: int, bucket: int | None) -> None:
    forwards = place(rows, max_rows=max_rows, bucket_rows=bucket)
    for call, count in enumerate(rows):
        assert rows_of(call, forwards) == list(range(count))


@given(rows=ROWS, max_rows=LIMITS, bucket=BUCKETS)
def test_no_slot_is_used_twice_and_no_forward_is_too_large(rows: list[int], max_rows: int, bucket: int | None) -> None:
    for forward in place(rows, max_rows=max_rows, bucket_rows=bucket):
        slots = [slot for piece in forward.pieces for slot in range(piece.slot, piece.slot + piece.rows)]
        assert len(set(slots)) == len(slots) == forward.live_rows
        assert set(slots) <= set(range(forward.batch_rows))
        assert forward.batch_rows <= max_rows if bucket is None else forward.batch_rows == bucket


@given(rows=ROWS, max_rows=LIMITS)
def test_nothing_is_padded_unless_a_size_is_asked_for(rows: list[int], max_rows: int) -> None:
    for forward in place(rows, max_rows=max_rows, bucket_rows=None):
        assert forward.live_rows == forward.batch_rows


@given(rows=ROWS, max_rows=LIMITS, bucket=BUCKETS)
def test_a_call_that_fits_is_never_torn_apart(rows: list[int], max_rows: int, bucket: int | None) -> None:
    forwards = place(rows, max_rows=max_rows, bucket_rows=bucket)
    for call, count in enumerate(rows):
        if count <= (bucket or max_rows):
            assert sum(piece.call == call for forward in forwards for piece in forward.pieces) == 1


@given(rows=ROWS, max_rows=LIMITS, bucket=BUCKETS)
def test_calls_of_one_forward_follow_one_another(rows: list[int], max_rows: int, bucket: int | None) -> None:
    order = [piece.call for forward in place(rows, max_rows=max_rows, bucket_rows=bucket) for piece in forward.pieces]
    assert order == sorted(order)


@given(rows=ROWS, max_rows=LIMITS, bucket=BUCKETS)
def test_a_call_is_placed_again_where_it_was_recorded(rows: list[int], max_rows: int, bucket: int | None) -> None:
    forwards = place(rows, max_rows=max_rows, bucket_rows=bucket)
    for call, count in enumerate(rows):
        segments = segments_of(call, forwards)
        again = place_again(segments)
        assert segments_of(0, again) == segments
        assert rows_of(0, again) == list(range(count))
        assert sum(segment.rows for segment in segments) == count


def test_the_arithmetic_by_hand() -> None:
    first, second = place([2, 2, 1, 2], max_rows=5, bucket_rows=None)
    assert [(piece.call, piece.slot, piece.rows) for piece in first.pieces] == [(0, 0, 2), (1, 2, 2), (2, 4, 1)]
    assert second == Forward(pieces=(Piece(call=3, start=0, rows=2, slot=0),), batch_rows=2)
    assert segments_of(3, [first, second]) == (Segment(slot=0, rows=2, batch_rows=2),)
    assert place([], max_rows=4, bucket_rows=None) == []


@pytest.mark.parametrize("bucket", [1, 4])
def test_a_lone_small_call_is_padded_to_the_size(bucket: int) -> None:
    [forward] = place([1], max_rows=16, bucket_rows=bucket)
    assert forward.batch_rows == bucket
    assert forward.live_rows == 1
