"""Options of `gesso generate` that are several values in one word."""

from typing import Any

from gesso.core.errors import UsageError


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
