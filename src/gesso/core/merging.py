"""Fields of one request over those of another."""

from collections.abc import Mapping
from typing import Any

from gesso.core.requests import Value

NESTED = frozenset({"dynamic_thresholding", "hires", "inpaint", "outpaint", "refiner"})
"""Fields of an `ImageRequest` that hold several values each."""
_SIZES = ({"scale"}, {"width", "height"})
"""Of a second pass: either of them says the whole of it."""


def merged(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over `own`; of what holds several values, those that are not given are its own.

    `None` in place of one of these leaves it out.
    """
    fields = {**own, **given}
    for name in NESTED & given.keys():
        if given[name] is None or own.get(name) is None:
            continue
        new, old = given_fields(given[name]), given_fields(own[name])
        if name == "hires" and any(new.keys() & size for size in _SIZES):
            old = {name: value for name, value in old.items() if not any(name in size for size in _SIZES)}
        fields[name] = {**old, **new}
    return fields


def given_fields(value: Value | Mapping[str, Any]) -> dict[str, Any]:
    """What was said of a nested value, without what it usually is."""
    if isinstance(value, Value):
        return {name: getattr(value, name) for name in value.model_fields_set}
    return dict(value)
