"""Are the pictures of an arm those of plain diffusers?"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Pictures = Mapping[str, NDArray[np.uint8]]
"""[H, W, 3] each, by the number of the request."""


@dataclass(frozen=True, kw_only=True)
class Equality:
    """How many pictures were compared, how many have the same bytes, and the largest difference of a value (of 255)."""

    compared: int
    equal: int
    largest_difference: int

    def __add__(self, other: "Equality") -> "Equality":
        return Equality(
            compared=self.compared + other.compared,
            equal=self.equal + other.equal,
            largest_difference=max(self.largest_difference, other.largest_difference),
        )


NOTHING = Equality(compared=0, equal=0, largest_difference=0)


def compare(reference: Pictures, other: Pictures) -> Equality:
    """Compare by number. Raises `ValueError` where pictures are missing or of another size: that is no difference but
    a mistake."""
    if set(reference) != set(other):
        raise ValueError(f"{len(other)} pictures against {len(reference)}")
    equal, largest = 0, 0
    for name, expected in reference.items():
        found = other[name]
        if found.shape != expected.shape:
            raise ValueError(f"picture {name} is {found.shape}, expected {expected.shape}")
        difference = int(np.abs(found.astype(np.int16) - expected.astype(np.int16)).max())
        equal += difference == 0
        largest = max(largest, difference)
    return Equality(compared=len(reference), equal=equal, largest_difference=largest)


def read(path: Path) -> dict[str, NDArray[np.uint8]]:
    """The pictures that an arm left at `path`."""
    with np.load(path) as found:
        return {name: found[name] for name in found.files}
