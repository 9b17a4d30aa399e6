"""Chance without a state: what is drawn depends on the seed of a training and on what it is drawn for.

So nothing has to be kept to go on after an interruption: step 812 draws the same in every run.
"""

import hashlib
from functools import lru_cache
from random import Random

import torch


def dice(*names: object) -> Random:
    """Python's chance for the purpose that `names` tell."""
    return Random(_seed(names))


def generator(*names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """Torch's chance for the purpose that `names` tell. Each kind of device draws other numbers."""
    return torch.Generator(device).manual_seed(_seed(names))


def visited(seed: int, step: int, *, size: int, total: int) -> torch.Tensor:
    """Which of `total` pictures step `step` sees: every one is seen once before any is seen again. [size], int64."""
    round_, place = divmod(step, total // size)
    return _order(seed, round_, total)[place * size : (place + 1) * size]


@lru_cache(maxsize=2)
def _order(seed: int, round_: int, total: int) -> torch.Tensor:
    return torch.randperm(total, generator=generator(seed, "round", round_))


def _seed(names: tuple[object, ...]) -> int:
    text = "/".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
