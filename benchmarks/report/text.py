"""Markdown tables, and numbers as people read them."""

from collections.abc import Sequence

from gesso.engine.bench.figures import Spread


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are figures."""
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def figure(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - len(f"{abs(value):.0f}") + (abs(value) < 1) + 1) if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}"


def spread(values: Sequence[float]) -> str:
    """`1.32 (1.30 to 1.35)`: the median, the least, the greatest."""
    found = Spread.of(values)
    return f"{figure(found.median)} ({figure(found.low)} to {figure(found.high)})"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def mebibytes(size_bytes: float | None) -> str:
    """As MiB; a dash where the system does not tell."""
    return "-" if size_bytes is None else f"{size_bytes / 2**20:.0f}"


def verdict(reached: bool) -> str:
    return "reached" if reached else "**missed**"
