"""Seamless textures as call state: convolutions read beyond an edge what is at the opposite one.

A UNet and its autoencoder know where they are in a picture by nothing but the zeros around it; attention and norms look
at all of it alike. With padding that wraps round they treat it as a torus, and its edges fit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers.models.downsampling import Downsample2D
from torch import Tensor
from torch.nn import functional

_CONVOLVE = "_conv_forward"
"""What `Conv2d.forward` calls, as (input, weight, bias)."""


@dataclass(frozen=True)
class Seamless:
    """Pictures wrap round: from left to right (x), from top to bottom (y)."""

    x: bool
    y: bool

    @contextmanager
    def entered(self, module: torch.nn.Module) -> Iterator[None]:
        changed = list(self._convolutions(module))
        try:
            for layer, convolve in changed:
                layer.__dict__[_CONVOLVE] = convolve
            yield
        finally:
            for layer, _ in changed:
                layer.__dict__.pop(_CONVOLVE, None)

    def _convolutions(self, module: torch.nn.Module) -> Iterator[tuple[torch.nn.Conv2d, Callable[..., Tensor]]]:
        for part in module.modules():
            if isinstance(part, Downsample2D) and part.use_conv and part.padding == 0:
                assert isinstance(part.conv, torch.nn.Conv2d)
                yield part.conv, partial(self._over_padded, part.conv)
            elif isinstance(part, torch.nn.Conv2d) and not isinstance(part.padding, str) and any(part.padding):
                yield part, partial(self._padding, part)

    def _padding(self, layer: torch.nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows, columns = (int(side) for side in layer.padding)
        wrapped = (columns, columns) if self.x else (0, 0), (rows, rows) if self.y else (0, 0)
        padded = functional.pad(x, (*wrapped[0], *wrapped[1]), mode="circular")
        left: Any = (0 if self.y else rows, 0 if self.x else columns)
        return functional.conv2d(padded, weight, bias, layer.stride, left, layer.dilation, layer.groups)

    def _over_padded(self, layer: torch.nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Of autoencoders, which put a row and a column of zeros behind the picture before they halve it."""
        x = x.clone()
        if self.x:
            x[..., -1] = x[..., 0]
        if self.y:
            x[..., -1, :] = x[..., 0, :]
        return functional.conv2d(x, weight, bias, layer.stride, 0, layer.dilation, layer.groups)
