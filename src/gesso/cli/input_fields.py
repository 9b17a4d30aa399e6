"""Options about the picture that a request begins with, as its fields."""

from typing import Any


def inpaint_fields(**options: Any) -> dict[str, Any] | None:
    """Fields of `Inpaint`, as many as are said; `None` where there are none.

    Args:
        options: by the name of the field, those that were left out `None`.
    """
    return {name: value for name, value in options.items() if value is not None} or None


def outpaint_fields(sides: dict[str, int | None], fill: str | None) -> dict[str, Any] | None:
    """Fields of `Outpaint`, likewise."""
    given: dict[str, Any] = {name: value for name, value in sides.items() if value is not None}
    return given | ({} if fill is None else {"fill": fill}) or None
