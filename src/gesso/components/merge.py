"""Building the arguments of one forward from the rows of several calls, and giving each call its rows back."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gesso.components.layouts import CallLayout
from gesso.components.slots import Forward
from gesso.components.tree import leaves, mapped


def merged(arguments: Sequence[Mapping[str, Any]], layout: CallLayout, forward: Forward) -> dict[str, Any]:
    """Arguments of `forward`. Slots without a row of a call are filled with the first row there is.

    Args:
        arguments: canonical arguments of each call of the batch; all agree.
    """
    by_path = [dict(leaves(call)) for call in arguments]

    def change(path: str, leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not (layout.is_rows(path) or layout.is_timestep(path)):
            return leaf
        if len(forward.pieces) == 1 and forward.pieces[0].rows == forward.batch_rows == leaf.shape[0]:
            return by_path[forward.pieces[0].call][path]  # alone and whole: nothing to copy
        first = forward.pieces[0]
        filler = by_path[first.call][path][first.start : first.start + 1]
        rows: list[torch.Tensor] = []
        slot = 0
        for piece in forward.pieces:
            rows.extend([filler] * (piece.slot - slot))
            rows.append(by_path[piece.call][path][piece.start : piece.start + piece.rows])
            slot = piece.slot + piece.rows
        rows.extend([filler] * (forward.batch_rows - slot))
        return torch.cat(rows)

    return mapped(dict(arguments[forward.pieces[0].call]), change)
