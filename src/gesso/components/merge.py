"""Building the arguments of one forward from the rows of several calls, and giving each call its rows back."""

from collections.abc import Mapping, Sequence
from typing import Any

from gesso.components.layouts import CallLayout
from gesso.components.slots import Forward
from gesso.components.tree import joined, leaves, mapped


def merged(arguments: Sequence[Mapping[str, Any]], layout: CallLayout, forward: Forward) -> dict[str, Any]:
    """Arguments of `forward`. Slots without a row of a call are filled with the first row there is.

    Args:
        arguments: canonical arguments of each call of the batch; all agree.
    """
    first = forward.pieces[0]
    whole = len(arguments[first.call][layout.rows[0]])
    if len(forward.pieces) == 1 and first.rows == whole == forward.batch_rows:
        return dict(arguments[first.call])  # alone and whole: nothing to copy
    by_path = [dict(leaves(call, whole=layout.listed)) for call in arguments]

    def change(path: str, leaf: Any) -> Any:
        if not layout.has_rows(path, leaf):
            return leaf
        filler = by_path[first.call][path][first.start : first.start + 1]
        rows: list[Any] = []
        slot = 0
        for piece in forward.pieces:
            rows.extend([filler] * (piece.slot - slot))
            rows.append(by_path[piece.call][path][piece.start : piece.start + piece.rows])
            slot = piece.slot + piece.rows
        rows.extend([filler] * (forward.batch_rows - slot))
        return joined(rows)

    return mapped(dict(arguments[first.call]), change, whole=layout.listed)
