"""Keeping the latents of a picture where it shall not change, at the scheduler seam: for every pipeline alike.

An image-to-image pipeline lays noise over the latents of its picture once, by its scheduler; there they are seen, in
the pipeline's own scale. After each step, where the mask is black, the sample is replaced by those latents at the noise
level that was reached (Lugmayr et al. 2022, arXiv 2201.09865, equation 8). With a gray mask, a place is free for as
many of the last steps as its gray is of white (Levin & Fried 2023, arXiv 2306.00950).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from gesso.core.requests import Fill

Noised = Callable[[Tensor, Tensor], Tensor]
"""(clean latents, noise) → the latents at the noise level that was reached."""


class LatentKeeper:
    """Keeps the latents of one picture. Belongs to its thread.

    Args:
        mask: [H, W] in pixels, 0 stays to 1 changes.
        gray: how long a place is free goes by its gray; else it is free where anything of it is at least half white.
        fill: what lies under the mask at the beginning.
    """

    def __init__(self, mask: Tensor, *, gray: bool, fill: Fill) -> None:
        self._mask = mask
        self._gray = gray
        self._fill = fill
        self._latents: Tensor | None = None
        self._noise: Tensor | None = None
        self._free: Tensor | None = None

    @property
    def knows(self) -> bool:
        """Whether the latents were seen: a pipeline that begins with noise alone lays none over a picture."""
        return self._latents is not None

    def begin(self, latents: Tensor, noise: Tensor) -> Tensor:
        """See the clean latents and their noise [1, …, h, w], and give what the noise shall be laid over."""
        self._latents, self._noise = latents, noise
        self._free = self._places(latents)
        free = (self._free > 0).to(latents.dtype)
        match self._fill:
            case Fill.NOISE:
                return latents + free * (noise - latents)
            case Fill.ZERO:
                return latents * (1 - free)
            case _:
                return latents

    def kept(self, sample: Tensor, *, made: int, calls: int, noised: Noised) -> Tensor:
        """`sample` with the picture's own latents where these stay.

        Args:
            made: network calls so far, of `calls`.
        """
        assert self._latents is not None
        assert self._noise is not None
        assert self._free is not None
        own = self._latents if made >= calls else noised(self._latents, self._noise)
        free = (self._free * calls >= max(calls - made, 1)) if self._gray else self._free > 0
        free, own = (_laid_out(value, sample) for value in (free.to(sample.dtype).expand_as(own), own))
        return own.to(sample.dtype) + free * (sample - own.to(sample.dtype))

    def _places(self, latents: Tensor) -> Tensor:
        height, width = latents.shape[-2:]
        mask = self._mask.to(latents.device, torch.float32)[None, None]
        if self._gray:
            places = functional.adaptive_avg_pool2d(mask, (height, width))
        else:
            places = (functional.adaptive_max_pool2d(mask, (height, width)) >= 0.5).float()
        return places.reshape(*(1,) * (latents.ndim - 2), height, width)


def _laid_out(latents: Tensor, sample: Tensor) -> Tensor:
    """`latents` [1, …, h, w] as `sample` is laid out: Flux and Qwen-Image pack 2x2 places into one token."""
    if sample.ndim == latents.ndim:
        return latents.reshape(sample.shape)
    height, width = latents.shape[-2:]
    plain = latents.reshape(1, -1, height, width)
    if sample.ndim != 3:
        return plain.reshape(sample.shape)
    channels = plain.shape[1]
    blocks = plain.reshape(1, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return blocks.reshape(sample.shape)
