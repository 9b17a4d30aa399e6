"""Dynamic thresholding: strong guidance with the range of values that a milder one would have had.

Saharia et al. 2022 (Imagen, arXiv 2205.11487, section 2.3) clip to a percentile what strong guidance drives too far.
For latents, which have no range of their own, the form known as "CFG scale fix" takes the range from the same
prediction at a milder scale: https://github.com/mcmonkeyprojects/sd-dynamic-thresholding, `dynthres_core.py`, with its
defaults (each channel by itself, around its mean, largest deviation, constant scales), on what the network predicts, as
its node for ComfyUI does.
"""

import torch
from torch import Tensor


def thresholded(
    negative: Tensor, positive: Tensor, *, scale: float, mimic_scale: float, percentile: float = 1.0
) -> Tensor:
    """The prediction guided by `scale`, each channel within the range that it would have at `mimic_scale`.

    Of a channel, a the largest deviation from the mean at the mimicked scale and b the percentile of deviations at
    `scale`: these are cut at max(a, b), and made a / max(a, b) of what they are.

    Args:
        negative, positive: [1, C, ...] of pictures, or [1, N, C] of tokens.
        percentile: share of the values that are not cut, 0 to 1.
    """
    difference = positive - negative
    wanted, mild = (_channels(negative + by * difference) for by in (scale, mimic_scale))
    mean = wanted.mean(-1, keepdim=True)
    deviations = wanted - mean
    most = (mild - mild.mean(-1, keepdim=True)).abs().amax(-1, keepdim=True)
    found = torch.quantile(deviations.abs(), percentile, dim=-1, keepdim=True)
    limit = torch.maximum(most, found).clamp_min(torch.finfo(torch.float32).tiny)
    kept = torch.clamp(deviations, -limit, limit) * (most / limit) + mean
    return _shaped(kept, positive)


def _channels(prediction: Tensor) -> Tensor:
    """[C, values] in float32, which quantiles need."""
    rows = prediction[0].float()
    return rows.T if rows.ndim == 2 else rows.flatten(1)


def _shaped(channels: Tensor, like: Tensor) -> Tensor:
    rows = channels.T if like.ndim == 3 else channels
    return rows.reshape(like.shape).to(like.dtype)
