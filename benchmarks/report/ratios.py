"""Ratios of two arms, repeat by repeat: what a machine does meanwhile to one, it does to the other."""

from collections.abc import Mapping, Sequence
from typing import Any

Cell = Mapping[str, Any]
"""One cell of the part `concurrency`: `kind`, `clients`, `pictures`, and the answers of each arm."""


def rates(cell: Cell, arm: str) -> list[float]:
    """Pictures a second, of each repeat."""
    return [answer["pictures"] / answer["seconds"] for answer in cell["arms"][arm]]


def ratios(cell: Cell, arm: str, *, over: str) -> list[float]:
    """How many times as many pictures a second as another arm, of each repeat."""
    return [one / other for one, other in zip(rates(cell, arm), rates(cell, over), strict=True)]


def latencies(cell: Cell, arm: str) -> list[float]:
    """Seconds, of all repeats together."""
    return [seconds for answer in cell["arms"][arm] for seconds in answer["latencies"]]


def total(cell: Cell, arm: str, what: str) -> float:
    """A count summed over all repeats."""
    return sum(answer[what] for answer in cell["arms"][arm])


def rows_per_forward(cell: Cell, arm: str) -> float:
    """Rows that a forward of the denoiser computed on average, rows for nobody included."""
    return total(cell, arm, "rows") / total(cell, arm, "forwards")


def padded_share(cell: Cell, arm: str) -> float:
    """Share of the rows of all networks that were computed for nobody."""
    padded = total(cell, arm, "padded_rows")
    return padded / (padded + total(cell, arm, "network_rows")) if padded else 0.0


def cells(subject: Mapping[str, Any], *, kind: str, clients: int | None = None) -> Sequence[Cell]:
    """The cells of a kind, in order of their clients."""
    found = [
        cell for cell in subject["cells"] if cell["kind"] == kind and (clients is None or cell["clients"] == clients)
    ]
    return sorted(found, key=lambda cell: cell["clients"])
