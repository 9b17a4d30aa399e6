"""Data whose denoiser and whose probability flow are known in closed form: each value is of a mixture of normals.

With noise of deviation sigma the mixture stays one, with variances grown by sigma². So the denoiser is a weighted mean,
and the flow, which keeps order on a line, carries each value to the value of the same quantile.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)
MEANS = torch.tensor([-0.9, 0.6], dtype=torch.float64)
DEVIATIONS = torch.tensor([0.35, 0.25], dtype=torch.float64)

MEAN = float((WEIGHTS * MEANS).sum())
VARIANCE = float((WEIGHTS * (DEVIATIONS**2 + MEANS**2)).sum()) - MEAN**2

Network = Callable[[Tensor, float], Tensor]
"""(the sample in the network's coordinates, timestep) → what the network predicts."""


def denoised(x: Tensor, sigma: float) -> Tensor:
    """E[data | data + sigma * noise = x]."""
    variance = DEVIATIONS**2 + sigma**2
    offset = x[..., None] - MEANS
    shares = torch.softmax(WEIGHTS.log() - variance.log() / 2 - offset**2 / variance / 2, dim=-1)
    return (shares * (MEANS + DEVIATIONS**2 / variance * offset)).sum(-1)


def carried(x: Tensor, sigma: float, sigma_end: float) -> Tensor:
    """Where the probability flow takes `x` from noise level to noise level: to the same quantile, by bisection."""
    quantile = _below(x, sigma)
    low, high = torch.full_like(x, -40 - 12 * sigma_end), torch.full_like(x, 40 + 12 * sigma_end)
    for _ in range(90):
        middle = (low + high) / 2
        less = _below(middle, sigma_end) < quantile
        low, high = torch.where(less, middle, low), torch.where(less, high, middle)
    return (low + high) / 2


def _below(x: Tensor, sigma: float) -> Tensor:
    deviation = (DEVIATIONS**2 + sigma**2).sqrt()
    return (WEIGHTS * torch.special.ndtr((x[..., None] - MEANS) / deviation)).sum(-1)


def network(alphas_cumprod: Tensor, prediction: str) -> Network:
    """A perfect network of a diffusion model; between timesteps log sigma is linear, outside it stays."""
    alphas = alphas_cumprod.double()
    logarithms = ((1 - alphas) / alphas).log() / 2

    def sigma_at(timestep: float) -> float:
        time = min(max(timestep, 0.0), len(logarithms) - 1.0)
        low = min(int(time), len(logarithms) - 2)
        return math.exp(float(logarithms[low] + (time - low) * (logarithms[low + 1] - logarithms[low])))

    def predict(seen: Tensor, timestep: float) -> Tensor:
        sigma = sigma_at(timestep)
        scale = math.sqrt(1 + sigma**2)
        clean = denoised(seen * scale, sigma)
        noise = (seen * scale - clean) / sigma
        return {"epsilon": noise, "sample": clean, "v_prediction": (noise - sigma * clean) / scale}[prediction]

    return predict


def velocity(x: Tensor, share: float) -> Tensor:
    """E[noise - data | (1 - share) data + share noise = x], of a rectified flow."""
    if share == 1:
        return x - MEAN
    clean = denoised(x / (1 - share), share / (1 - share))
    return (x - clean) / share
