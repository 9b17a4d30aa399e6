"""Picture sizes that a model makes, computed from the configs in its folder."""

from collections.abc import Mapping
from math import lcm
from typing import Any

from gesso.models.families import Family, Role, role_for

PIPELINE_MULTIPLE_PX = 8
"""What diffusers' UNet pipelines check themselves, whatever the VAE's factor is."""
FLUX_LATENTS = 128
"""`default_sample_size` of diffusers' `FluxPipeline`: its transformer's config has no sample size."""

PACKING = frozenset(
    {
        "BriaTransformer2DModel",
        "ChromaTransformer2DModel",
        "Flux2Transformer2DModel",
        "FluxTransformer2DModel",
        "LongCatImageTransformer2DModel",
        "OvisImageTransformer2DModel",
    }
)
"""Transformers whose pipelines pack latents 2x2 before them; their configs say a patch of 1."""

Configs = Mapping[str, Mapping[str, Any]]
"""`config.json` of each network by the component's name."""


def vae_factor(configs: Configs) -> int:
    """Pixels a latent stands for along each side: one halving for each block of the VAE but the first.

    1 for a model without VAE, which paints pixels.
    """
    vae = next((config for name, config in configs.items() if role_for(name, None) is Role.VAE), None)
    if vae is None:
        return 1
    for key in ("block_out_channels", "down_block_out_channels", "encoder_block_out_channels"):
        if isinstance(blocks := vae.get(key), list):
            return 2 ** (len(blocks) - 1)
    if isinstance(halvings := vae.get("temperal_downsample"), list):  # spelt so in the VAEs that come from video
        return 2 ** len(halvings)
    return 8


def _denoiser(configs: Configs) -> tuple[str, Mapping[str, Any]] | None:
    return next(((name, config) for name, config in configs.items() if role_for(name, None) is Role.DENOISER), None)


def size_multiple_px(configs: Configs, family: Family | None) -> int:
    """Width and height must be multiples of this for the pipeline to make exactly that size.

    UNets pad odd latents themselves: the VAE's factor, and the 8 px that the pipeline checks. SD 3: the VAE's factor
    times the patch. Flux and its kin: times 2, their packing. Any other transformer: times its patch, or 2 if the
    config does not say.
    """
    factor = vae_factor(configs)
    found = _denoiser(configs)
    if found is None:
        return family.size_multiple_px if family else lcm(PIPELINE_MULTIPLE_PX, factor)
    name, config = found
    own = factor * patch(name, config)
    takes_any = family is not None and name.startswith("transformer")
    return own if takes_any else lcm(PIPELINE_MULTIPLE_PX, own)


def patch(component: str, config: Mapping[str, Any]) -> int:
    """Latents along each side that become one place in the denoiser: 1 for UNets, 2 where the pipeline packs."""
    if not component.startswith("transformer"):
        return 1
    size = config.get("patch_size")
    return size if isinstance(size, int) and config.get("_class_name") not in PACKING else 2


def default_size_px(configs: Configs, family: Family | None) -> tuple[int, int]:
    """Width and height of the picture when nobody asks: the denoiser's sample size, times the VAE's factor."""
    factor = vae_factor(configs)
    found = _denoiser(configs)
    if found is not None:
        sample = found[1].get("sample_size")
        if isinstance(sample, int):
            return sample * factor, sample * factor
        if isinstance(sample, list) and len(sample) == 2:  # rows, then columns
            return sample[1] * factor, sample[0] * factor
    if family is None:
        return FLUX_LATENTS * factor, FLUX_LATENTS * factor
    side = family.native_size_px // 8 * factor
    return side, side


def channels(config: Mapping[str, Any]) -> int:
    """Features of a network at its full resolution: the base of its activation memory.

    UNets and VAEs: the first block. Transformers: heads times their width. Text encoders: the hidden size.
    """
    for key in ("block_out_channels", "encoder_block_out_channels", "decoder_block_out_channels"):
        if isinstance(blocks := config.get(key), list) and blocks and isinstance(blocks[0], int):
            return max(blocks[0], 1)
    heads, width = config.get("num_attention_heads"), config.get("attention_head_dim")
    if isinstance(heads, int) and isinstance(width, int):
        return max(heads * width, 1)
    for key in ("hidden_size", "d_model", "inner_dim", "dim", "base_dim"):
        if isinstance(size := config.get(key), int):
            return max(size, 1)
    # A model of text and pictures: what reads the text.
    return channels(inner) if isinstance(inner := config.get("text_config"), dict) else 1
