"""How wrong a decoded picture is: the distance of its pixels (L1), and that of its edges.

The pictures are flat, so that nearly all pixels are right from the start and what is lost is lost at edges: a blurred
stripe or a filled gap changes few pixels by little, but their differences by much (as in the gradient difference loss
of Mathieu et al. 2016, here with the signs of the differences).
"""

from math import log10

from torch import Tensor


def loss(decoded: Tensor, pixels: Tensor, *, edge_weight: float) -> Tensor:
    """The mean over [B, 3, H, W], -1 … 1, of |decoded - pixels| plus `edge_weight` times that of the differences."""
    error = decoded - pixels
    across, down = error.diff(dim=-1).abs().mean(), error.diff(dim=-2).abs().mean()
    return error.abs().mean() + edge_weight * (across + down)


def psnr(mean_squared_error: float) -> float:
    """Decibels; the peak is the whole range from -1 to 1."""
    return 10 * log10(4 / max(mean_squared_error, 1e-12))
