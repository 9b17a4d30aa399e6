"""What every arm does, and what it tells of a picture."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gesso.core.requests import ImageRequest
from gesso.engine.bench.rows import DENOISERS


@dataclass(frozen=True, kw_only=True)
class Made:
    """One picture and its share of the work.

    Attributes:
        pixels: [H, W, 3].
        rows: rows of this picture that the denoiser computed.
        forwards: its share of the denoiser's forwards: of one that it was 2 of 16 rows of, an eighth.
        network_rows: rows of this picture that any network computed.
        padded_rows: rows that any network computed for nobody, its share of them.
        service_seconds: how long its making took apart from waiting and transport; `None` where nobody says.
    """

    pixels: NDArray[np.uint8]
    rows: int
    forwards: float
    network_rows: int = 0
    padded_rows: int = 0
    service_seconds: float | None = None


class Arm(Protocol):
    """A way to serve pictures. `make` is called from many threads at once."""

    def make(self, request: ImageRequest) -> Made:
        """Answer one request; blocks until the picture is there."""
        ...

    def use_threads(self, threads: int) -> None:
        """Compute with so many CPU threads from now on."""
        ...

    def make_count(self, request: ImageRequest) -> list[Made]:
        """Answer a request for several pictures as one person would ask for it."""
        ...

    def close(self) -> None: ...


def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    """[H, W, 3]"""
    return np.asarray(image.convert("RGB"))


def is_denoiser(component: str) -> bool:
    return component in DENOISERS
