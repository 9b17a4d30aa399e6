"""Options that say how something is done: refused where it is not done at all."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gesso.core.errors import UsageError
from gesso.core.requests import Inpaint

_GROUNDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "hires": frozenset({"scale", "width", "height"}),
        "refiner": frozenset({"model"}),
        "inpaint": frozenset({"mask"}),
        "outpaint": frozenset({"left", "right", "up", "down"}),
    }
)
"""Which parts of a field say that it is done."""

_OPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "hires": {"scale": "--hires", "width": "--hires", "height": "--hires", "negative_prompt": "--hires-negative"},
        "refiner": {"model": "--refiner"},
        "inpaint": {
            "mask": "--mask",
            "invert": "--[no-]invert-mask",
            "blur": "--mask-blur",
            "soft": "--[no-]soft-mask",
            "only_masked": "--[no-]only-masked",
            "padding": "--padding",
            "fill": "--fill",
            "keep_outside": "--[no-]keep-outside",
        },
        "outpaint": {name: f"--{name}" for name in ("left", "right", "up", "down", "fill")},
        "dynamic_thresholding": dict.fromkeys(("mimic_scale", "percentile"), "--dynamic-thresholding"),
    }
)
"""Options of parts of a field; those that are not here are called `--FIELD-PART`."""


def option_of(field: str, part: str) -> str:
    """The option that says a part of a field, such as `--mask-blur`."""
    return _OPTIONS[field].get(part, f"--{field}-{part}")


def checked(asked: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as they were typed, each part of something that is typed too or in `own`.

    Args:
        own: fields of the request that is asked for again; none without `--from`. What is `None` in `asked` is left
            out of them.

    Raises:
        UsageError: an option that would have no effect.
    """
    own = {name: value for name, value in own.items() if asked.get(name, value) is not None}
    asked = _fill_where_it_is(asked, own)
    for field, grounds in _GROUNDS.items():
        given = asked.get(field)
        if given is not None and own.get(field) is None and not given.keys() & grounds:
            raise _without_grounds(field, given)
    return _padding_where_it_is_seen(asked, own)


def _fill_where_it_is(asked: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`--fill` alone is of the mask, if that is what the request has."""
    if (asked.get("outpaint") or {}).keys() != {"fill"} or own.get("inpaint") is None:
        return asked
    rest = {name: value for name, value in asked.items() if name != "outpaint"}
    return rest | {"inpaint": asked.get("inpaint", {}) | asked["outpaint"]}


def _padding_where_it_is_seen(asked: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Where only what is masked is painted no more, the padding of the picture is around nothing: the usual one."""
    given = asked.get("inpaint") or {}
    if given.get("only_masked") is not False or "padding" in given or own.get("inpaint") is None:
        return asked
    return asked | {"inpaint": given | {"padding": Inpaint.model_fields["padding"].default}}


def _without_grounds(field: str, given: Mapping[str, Any]) -> UsageError:
    if field == "hires":
        option = option_of(field, next(iter(given)))
        return UsageError(f"`{option}` says how a second pass is made, and there is none", hint="add `--hires 2`")
    if field == "refiner":
        return UsageError("`--refiner-at` says when a refiner goes on, and there is none", hint="add `--refiner NAME`")
    if field == "outpaint":
        return UsageError("`--fill`: there is nothing to fill", hint="give a mask with `--mask`, or pixels to add")
    named = ", ".join(f"`{option_of(field, name)}`" for name in given)
    return UsageError(f"{named}: there is no mask", hint="give one with `--mask`")
