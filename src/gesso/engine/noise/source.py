"""Noise sources: the stream of normal numbers that belongs to a seed."""

from math import prod
from typing import Protocol, assert_never

import torch
from torch import Tensor

from gesso.core.requests import NoiseSource
from gesso.engine.noise.philox import normals


class NoiseStream(Protocol):
    """The draws of one seed, one after the other. Belongs to one thread."""

    def fill(self, target: Tensor) -> Tensor:
        """Write the next draw into `target`, of any shape, dtype and device. Returns it."""
        ...


class TorchStream:
    """torch's own numbers on the CPU (mt19937): those of `torch.randn(…, generator=torch.Generator().manual_seed(…))`.

    They depend on the dtype; so do torch's.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def fill(self, target: Tensor) -> Tensor:
        """Write the next draw into `target`. Returns it."""
        if target.device.type == "cpu":
            return target.normal_(generator=self._generator)
        return target.copy_(torch.empty_like(target, device="cpu").normal_(generator=self._generator))


class PhiloxStream:
    """The numbers of a GPU, see `gesso.engine.noise.philox`: float32, then rounded to the dtype."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._draws = 0

    def fill(self, target: Tensor) -> Tensor:
        """Write the next draw into `target`, in the order of its indices. Returns it."""
        numbers = torch.from_numpy(normals(self._seed, draw=self._draws, count=prod(target.shape)))
        self._draws += 1
        return target.copy_(numbers.reshape(target.shape))


def stream_of(source: NoiseSource, seed: int) -> NoiseStream:
    """The draws of `seed`, from the first."""
    match source:
        case NoiseSource.CPU:
            return TorchStream(seed)
        case NoiseSource.NV:
            return PhiloxStream(seed)
        case NoiseSource.COMFYUI:
            return TorchStream(seed)
        case _:
            assert_never(source)


def stream_of_steps(source: NoiseSource, seed: int) -> NoiseStream | None:
    """The draws that steps begin with, from the first; `None` where they go on with those of the picture."""
    return PhiloxStream(seed) if source is NoiseSource.COMFYUI else None
