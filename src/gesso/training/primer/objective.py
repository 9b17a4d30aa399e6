"""What the network shall predict, and how wrong it is.

v-prediction (Salimans & Ho 2022, eq. 11): with signal share a and noise share s, a² + s² = 1, the noisy latents are
a x₀ + s noise, and the target is v = a noise - s x₀.
"""

import torch
from torch import Tensor


def timesteps(count: int, total: int, generator: torch.Generator) -> Tensor:
    """[B] of 0 … total - 1: half of them uniform, half logit-normal, which is more often in the middle.

    In the middle the noise has not yet hidden what a thing is, and it is no longer written in the pixels: there it is
    decided which shape comes out.
    """
    device = generator.device
    middle = torch.randn(count, generator=generator, device=device).sigmoid()
    uniform = torch.rand(count, generator=generator, device=device)
    chosen = torch.where(torch.arange(count, device=device) % 2 == 0, middle, uniform)
    return (chosen * total).long().clamp(max=total - 1)


def corrupt(x0: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """a x₀ + s noise, with a² given as `share` [B]."""
    return _rows(share).sqrt() * x0 + (1 - _rows(share)).sqrt() * noise


def target(x0: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """The v of the noisy latents that `corrupt` gives."""
    return _rows(share).sqrt() * noise - (1 - _rows(share)).sqrt() * x0


def _rows(share: Tensor) -> Tensor:
    return share.reshape(-1, 1, 1, 1)
