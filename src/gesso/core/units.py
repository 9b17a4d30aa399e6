"""Printing and reading of quantities with units."""

import re

_BYTES = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def gib(size_bytes: float) -> str:
    """`3221225472` as `3.0 GiB`; small sizes in MiB or KiB so that they never read `0.0`."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(size_bytes) >= scale:
            return f"{size_bytes / scale:.1f} {unit}"
    return f"{int(size_bytes)} B"


def parse_bytes(text: str) -> int:
    """`6GiB`, `512 MB` or `1024` in bytes. Raises `ValueError` on anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"not a size in bytes: `{text}`")
    return int(float(match[1]) * _BYTES[match[2]])


def parse_size(text: str) -> tuple[int, int]:
    """`640x480` as (width_px, height_px). Raises `ValueError` on anything else."""
    match = re.fullmatch(r"\s*(\d{1,9})\s*[xX×]\s*(\d{1,9})\s*", text)  # noqa: RUF001 (people paste the multiplication sign)
    if match is None:
        raise ValueError(f"not a size: `{text}`; write it as `WIDTHxHEIGHT`, for example `512x512`")
    return int(match[1]), int(match[2])


def nearest_multiple(value: float, of: int) -> int:
    """The multiple of `of` that is nearest to `value`, and not 0."""
    return max(of, round(value / of) * of)
