"""A variation: noise on the arc between the noise of two seeds."""

import torch
from torch import Tensor

_SMALLEST_SINE = 2e-3
"""Below it two columns point the same way, or opposite ways, as far as float32 can tell."""


def slerp(strength: float, noise: Tensor, other: Tensor) -> Tensor:
    """Spherical interpolation (Shoemake 1985) as AUTOMATIC1111 does it.

        sin((1 - t) w) / sin(w) * noise + sin(t w) / sin(w) * other,   w = the angle between the two

    Not the whole noise is taken as one vector, but each *column* of it, along the height (the last axis but one): so
    each has an angle of its own, mostly near a right one, and the norm of a column stays between those of the two.
    Noise that is not laid out in rows and columns (fewer than three axes) is taken along its last axis.

    Where two columns are parallel, AUTOMATIC1111 divides by zero, unless they are so on the whole: then it mixes
    linearly, with the weights the wrong way round. Both happen only between a seed and itself. Here such columns are
    mixed linearly, the right way round.

    Args:
        strength: t, 0 (`noise`, exactly) to 1 (`other`, exactly).
        noise: [B, C, H, W], or any other shape.
        other: the same shape.

    Returns:
        The mixture, computed in float32, in the dtype of `noise`.
    """
    along = -2 if noise.dim() > 2 else -1
    low, high = noise.float(), other.float()
    cosine = (_unit(low, along) * _unit(high, along)).sum(along, keepdim=True).clamp(-1, 1)
    angle = cosine.acos()
    sine = angle.sin()
    arc = ((1.0 - strength) * angle).sin() / sine * low + (strength * angle).sin() / sine * high
    return torch.where(sine < _SMALLEST_SINE, torch.lerp(low, high, strength), arc).to(noise.dtype)


def _unit(noise: Tensor, along: int) -> Tensor:
    return noise / noise.norm(dim=along, keepdim=True)
