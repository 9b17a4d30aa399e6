"""Number formats of weights, in numpy: checked and cast. bfloat16 and float8, which numpy lacks, are bits here."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.unsignedinteger]
"""Values as unsigned integers of their width."""

_EXPONENTS: Mapping[str, int] = {
    "F64": 0x7FF0_0000_0000_0000,
    "F32": 0x7F80_0000,
    "F16": 0x7C00,
    "BF16": 0x7F80,
    "F8_E5M2": 0x7C,
    "F8_E4M3": 0x7F,
}
"""Bits that are all set in what is no number, or infinite, and in nothing else. The last has no infinity."""
WIDTHS: Mapping[str, int] = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E5M2": 1, "F8_E4M3": 1}
"""Bytes of each format of real numbers."""
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def bits(data: bytes, dtype: str) -> Bits:
    """The stored values of a format of real numbers."""
    return np.frombuffer(data, dtype=_UNSIGNED[WIDTHS[dtype]])


def all_finite(values: Bits, dtype: str) -> bool:
    """Whether none is infinite or not a number."""
    mask: Any = values.dtype.type(_EXPONENTS[dtype])
    return not bool(((values & mask) == mask).any())


def cast(values: Bits, source: str, target: str) -> Bits:
    """The same values in another format, rounded to the nearest, ties to even, as torch rounds, which goes by float32.

    Args:
        target: `F32`, `F16` or `BF16`.
    """
    if source == target:
        return values
    wide = _wide(values, source)
    if target == "F32":
        return wide.astype(np.float32).view(np.uint32)
    if target == "F16":
        with np.errstate(over="ignore"):  # whoever asked looks for what became infinite
            return wide.astype(np.float16).view(np.uint16)
    return _to_bfloat16(wide.astype(np.float32).view(np.uint32))


def _wide(values: Bits, dtype: str) -> NDArray[np.floating]:
    if dtype == "F64":
        return values.view(np.float64).astype(np.float32)
    if dtype == "F32":
        return values.view(np.float32)
    if dtype == "F16":
        return values.view(np.float16).astype(np.float32)
    if dtype == "BF16":
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype == "F8_E5M2":  # the upper half of a float16
        return (values.astype(np.uint16) << np.uint16(8)).view(np.float16).astype(np.float32)
    return _E4M3[values]


def _to_bfloat16(values: Bits) -> Bits:
    odd = (values >> np.uint32(16)) & np.uint32(1)
    return ((values + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)


def _e4m3() -> NDArray[np.float32]:
    """Every value of float8 with 4 bits of exponent and 3 of mantissa (Micikevicius et al. 2022, table 1)."""
    codes = np.arange(256)
    sign = np.where(codes & 0x80, -1.0, 1.0)
    exponent, mantissa = (codes >> 3) & 0xF, codes & 7
    normal = (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    table = sign * np.where(exponent == 0, mantissa / 8 * 2.0**-6, normal)
    table[(codes & 0x7F) == 0x7F] = np.nan
    return table.astype(np.float32)


_E4M3 = _e4m3()
