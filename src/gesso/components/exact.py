"""Does a row's result depend on its slot or its neighbours? Tried, not assumed.

At a fixed batch shape the kernels of most networks give a row the same bytes in whatever company. Some do not: bf16
matrix products at 5, 7 or 9 rows, vectorised activations at odd sizes. What fails here is not shared in exact mode.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from gesso.components.layouts import CallLayout
from gesso.components.trace import digest
from gesso.components.tree import leaves, mapped, take_rows


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
    return all(
        found == own[row]
        for order in (straight[::-1], [0] * rows, [rows - 1] * rows)
        for row, found in zip(order, _row_digests(run, arguments, layout, order), strict=True)
    )


def _row_digests(
    run: Callable[[Mapping[str, Any]], Any], arguments: Mapping[str, Any], layout: CallLayout, order: list[int]
) -> list[str]:
    rows = {path for path, leaf in leaves(arguments) if isinstance(leaf, torch.Tensor) and _has_rows(layout, path)}

    def change(path: str, leaf: Any) -> Any:
        return torch.stack([_variant(leaf[0], index) for index in order]) if path in rows else leaf

    output = run(mapped(dict(arguments), change))
    return [digest(take_rows(output, slot, slot + 1, len(order))).hex() for slot in range(len(order))]


def _has_rows(layout: CallLayout, path: str) -> bool:
    return layout.is_rows(path) or layout.is_timestep(path)


def _variant(row: torch.Tensor, index: int) -> torch.Tensor:
    """Another plausible row: scaled if it is numbers, turned if it is ids."""
    if row.is_floating_point():
        return row * (1.0 - 0.03 * index)
    return torch.roll(row, index, dims=-1) if row.ndim else row
