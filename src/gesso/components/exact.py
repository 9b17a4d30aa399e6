"""Does a row's result depend on its slot or its neighbours? Tried, not assumed.

At a fixed batch shape the kernels of most networks give a row the same bytes in whatever company. Some do not: bf16
matrix products at 5, 7 or 9 rows, vectorised activations at odd sizes. What fails here is not shared in exact mode.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch

from gesso.components.layouts import CallLayout
from gesso.components.trace import digest
from gesso.components.tree import mapped, take_rows


def rows_keep_to_themselves(
    run: Callable[[Mapping[str, Any]], Any], arguments: Mapping[str, Any], layout: CallLayout, *, rows: int
) -> bool:
    """Run `rows` made-up rows in four companies and compare the bits of each row.

    Args:
        run: one forward of the network.
        arguments: canonical arguments of any call of the shape; their first row seeds the made-up ones, so that the
            verdict depends on the shape and not on who came first.
        rows: rows of the forward.

    Raises:
        NotUnderstoodError: rows cannot be told apart in the output.
    """
    straight = list(range(rows))
    own = _row_digests(run, arguments, layout, straight)
    # Reversed: other slots. All the largest, all the smallest row: other neighbours, so that a shared scale shows.
    orders = [straight[::-1], [0] * rows, [rows - 1] * rows]
    longest = _longest(arguments, layout)
    if longest is not None:  # it decides how the others are masked, so it is always there
        orders = [[*order[:-1], longest] for order in orders]
    return all(
        found == own[row]
        for order in orders
        for row, found in zip(order, _row_digests(run, arguments, layout, order), strict=True)
    )


def _row_digests(
    run: Callable[[Mapping[str, Any]], Any], arguments: Mapping[str, Any], layout: CallLayout, order: list[int]
) -> list[str]:
    def change(path: str, leaf: Any) -> Any:
        if not layout.has_rows(path, leaf):
            return leaf
        if isinstance(leaf, list):
            given = cast(list[Any], leaf)
            return [_variant(given[index % len(given)], index) for index in order]
        return torch.stack([_variant(leaf[0], index) for index in order])

    output = run(mapped(dict(arguments), change, whole=layout.listed))
    listed = layout.listed_outputs
    return [digest(take_rows(output, slot, slot + 1, len(order), listed=listed)).hex() for slot in range(len(order))]


def _longest(arguments: Mapping[str, Any], layout: CallLayout) -> int | None:
    """The row that the others are padded to; `None` if the rows of the call are of one length."""
    for name in layout.listed:
        given = arguments.get(name)
        lengths = [len(item) for item in cast(list[Any], given)] if isinstance(given, list) else []
        if len(set(lengths)) > 1:
            return lengths.index(max(lengths))
    return None


def _variant(row: Any, index: int) -> Any:
    """Another plausible row: scaled if it is numbers, turned if it is ids. What is no tensor belongs to the shape."""
    if not isinstance(row, torch.Tensor):
        return row
    if row.is_floating_point():
        return row * (1.0 - 0.03 * index)
    return torch.roll(row, index, dims=-1) if row.ndim else row
