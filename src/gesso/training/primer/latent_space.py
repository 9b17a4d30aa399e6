"""What is measured of the latents of a VAE that was trained: how large they are, and which colours they show."""

from dataclasses import dataclass

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from gesso.training.primer.latents import latents_of, signed


@dataclass(frozen=True, kw_only=True)
class LatentSpace:
    """What a pipeline folder tells of its latents."""

    scaling_factor: float
    """Latents times this have a standard deviation of 1, which the noise of a denoiser rests on."""
    latent_rgb: list[list[float]]
    """[C, 3]: from a scaled latent to the colour of its pixels, -1 … 1, for previews."""
    bias: list[float]
    """[3], added to it."""


def measure(vae: AutoencoderKL, pixels: Tensor) -> LatentSpace:
    """What holds on these pictures, uint8 [N, 3, H, W]. The colours are those of least squares."""
    latents = latents_of(vae, pixels).float() / vae.config["scaling_factor"]  # [N, C, h, w]
    scaling_factor = 1 / latents.std().item()
    cells = (latents * scaling_factor).movedim(1, -1).flatten(0, -2)  # [N h w, C]
    colours = adaptive_avg_pool2d(signed(pixels), latents.shape[-2:]).movedim(1, -1).flatten(0, -2)  # [N h w, 3]
    with_bias = torch.cat([cells, torch.ones(len(cells), 1)], dim=1)
    factors = torch.linalg.lstsq(with_bias, colours).solution  # [C + 1, 3]
    *latent_rgb, bias = [[round(value, 4) for value in row] for row in factors.tolist()]
    return LatentSpace(scaling_factor=scaling_factor, latent_rgb=latent_rgb, bias=bias)
