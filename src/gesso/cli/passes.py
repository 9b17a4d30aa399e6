"""Options of `gesso generate` that are several values in one word."""

from typing import Any

from gesso.core.errors import UsageError
from gesso.core.units import parse_size


def thresholding(text: str | None) -> dict[str, Any] | None:
    """`MIMIC_SCALE[:PERCENTILE]` as fields of `DynamicThresholding`. Raises `UsageError`."""
    if text is None:
        return None
    scale, colon, percentile = text.partition(":")
    try:
        return {"mimic_scale": float(scale)} | ({"percentile": float(percentile)} if colon else {})
    except ValueError as error:
        raise UsageError(
            f"`--dynamic-thresholding {text}` is no number", hint="write MIMIC_SCALE or MIMIC_SCALE:PERCENTILE"
        ) from error


def hires_pass(size: str | None, **fields: Any) -> dict[str, Any] | None:
    """`--hires` and the options that say how, as fields of `HiresPass`. Raises `UsageError`."""
    given = {name: value for name, value in fields.items() if value is not None}
    if size is None:
        return given or None
    try:
        return {"scale": float(size)} | given
    except ValueError:
        pass
    try:
        width, height = parse_size(size)
    except ValueError as error:
        raise UsageError(f"`--hires {size}` is neither a scale nor a size", hint="write 2, 1.5 or 1024x1536") from error
    return {"width": width, "height": height} | given


def refiner_use(model: str | None, at: float | None) -> dict[str, Any] | None:
    """`--refiner` and `--refiner-at` as fields of `RefinerUse`."""
    given = {name: value for name, value in (("model", model), ("at", at)) if value is not None}
    return given or None
