"""Options about the picture that a request begins with, as its fields."""

from typing import Any

from gesso.core.errors import UsageError


def inpaint_fields(mask: str | None, **options: Any) -> dict[str, Any] | None:
    """Fields of `Inpaint`; `None` where there is no mask.

    Args:
        options: by the name of the field, those that were left out `None`, `False`, or as they are usually.

    Raises:
        UsageError: an option that has no effect without a mask.
    """
    usual = {"keep_outside": True}
    given = {name: value for name, value in options.items() if value not in (None, usual.get(name, False))}
    if mask is None:
        if given:
            named = ", ".join(f"`{_OPTIONS[name]}`" for name in given)
            raise UsageError(f"{named}: there is no mask", hint="give one with `--mask`")
        return None
    return {"mask": mask, **given}


def outpaint_fields(sides: dict[str, int | None], fill: str | None, *, masked: bool) -> dict[str, Any] | None:
    """Fields of `Outpaint`; `None` where nothing is added to a side.

    Raises:
        UsageError: a fill of what is neither masked nor added.
    """
    added = {name: value for name, value in sides.items() if value is not None}
    if not added:
        if fill is not None and not masked:
            raise UsageError("`--fill`: there is nothing to fill", hint="give a mask with `--mask`, or pixels to add")
        return None
    return added if fill is None else {**added, "fill": fill}


_OPTIONS = {
    "invert": "--invert-mask",
    "blur": "--mask-blur",
    "soft": "--soft-mask",
    "only_masked": "--only-masked",
    "padding": "--padding",
    "fill": "--fill",
    "keep_outside": "--no-keep-outside",
}
