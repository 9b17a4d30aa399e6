"""Values as other programs write them. A text that is not exactly such a value is none: `ValueError` says why."""

import math
import re
from collections.abc import Callable
from typing import Any

from gesso.core.requests import MAX_SEED

Reader = Callable[[str], Any]

LATENT_PX = 8
"""Pixels of a latent; the programs round sizes down to whole ones."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_SIZE = re.compile(r"([0-9]{1,6}) ?[xX] ?([0-9]{1,6})")
_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def whole(text: str) -> int:
    """`20`; also `20.0`."""
    if not _WHOLE.fullmatch(text):
        raise ValueError("it is no whole number, or too long a one")
    return int(text.partition(".")[0])


def number(text: str) -> float:
    """`7`, `7.5`, `1e-3`; nothing infinite."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("it is no number")
    return float(text)


def between(read: Callable[[str], Any], least: float, most: float) -> Reader:
    """`read`, refusing what lies outside."""

    def checked(text: str) -> Any:
        value = read(text)
        if not least <= value <= most:
            raise ValueError(f"it is not between {least:g} and {most:g}")
        return value

    return checked


def seed(text: str) -> int:
    """32 bits."""
    value = whole(text)
    if value < 0:
        raise ValueError("the seed was not kept")
    if value > MAX_SEED:
        raise ValueError("seeds have 32 bits here")
    return value


def size(text: str) -> tuple[int, int]:
    """`512x768`: width, height."""
    found = _SIZE.fullmatch(text)
    if found is None or not int(found[1]) or not int(found[2]):
        raise ValueError("it is no size")
    return int(found[1]), int(found[2])


def flag(text: str) -> bool:
    """`True`, `False` and the like."""
    try:
        return _FLAGS[text.strip().lower()]
    except KeyError:
        raise ValueError("it is neither true nor false") from None


# --- numbers that were read already, as JSON has them


def whole_number(value: Any, least: int, most: int) -> int:
    """A whole number, which may be written as `20.0`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        raise ValueError("it is no whole number")
    if not least <= value <= most:
        raise ValueError(f"it is not between {least} and {most}")
    return int(value)


def real_number(value: Any, least: float, most: float) -> float:
    """A number; nothing infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("it is no number")
    if not least <= value <= most:
        raise ValueError(f"it is not between {least:g} and {most:g}")
    return float(value)


def is_near(value: Any, usual: float) -> bool:
    """Whether a number is `usual`, as far as one that was rounded by hand can say."""
    return isinstance(value, int | float) and math.isclose(value, usual, rel_tol=1e-4)
