"""Thin Stable Diffusion models of one network at several sizes, so that it shows where sharing forwards stops to pay.

Random weights of unit gain: what is measured is arithmetic, and the pictures are finite noise. Tokenizer and scheduler
are the primer's; text encoder and VAE are thin, so that the UNet is what takes the time.
"""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from gesso.primer import weights_folder

SIDES = (8, 12, 16, 32, 64)
"""Latents along each side; a picture has eight times as many pixels."""
_TEXT_WIDTH = 64


def save(folder: Path, side: int) -> Path:
    """Write the model whose pictures have `side` latents along each side, and return its folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(side)
        parts = {"text_encoder": _text_encoder(), "unet": _unet(side), "vae": _vae(side)}
    for index, module in enumerate(parts.values()):
        _fill(module, seed=index)
    pipeline = StableDiffusionPipeline(
        **parts,
        tokenizer=CLIPTokenizer.from_pretrained(weights_folder() / "tokenizer"),
        scheduler=DDIMScheduler.from_pretrained(weights_folder() / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    path = folder / f"unet-{side}"
    pipeline.save_pretrained(path)
    return path


def _unet(side: int) -> UNet2DConditionModel:
    """3.8 million weights."""
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(48, 96, 96),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=_TEXT_WIDTH,
    )


def _vae(side: int) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=4,
        sample_size=side * 8,
        mid_block_add_attention=False,
    )


def _text_encoder() -> CLIPTextModel:
    tokens = CLIPTextConfig.from_pretrained(weights_folder() / "text_encoder")
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens.vocab_size,
            bos_token_id=tokens.bos_token_id,
            eos_token_id=tokens.eos_token_id,
            pad_token_id=tokens.pad_token_id,
            hidden_size=_TEXT_WIDTH,
            intermediate_size=2 * _TEXT_WIDTH,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=77,
        )
    )


def _fill(module: nn.Module, seed: int) -> None:
    """Weights that neither let signals die nor explode."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim >= 2:
            values = noise / (parameter.numel() / parameter.shape[0]) ** 0.5
        else:
            values = noise * 0.02 + (0.0 if name.endswith("bias") else 1.0)
        parameter.data.copy_(values)
    module.eval().requires_grad_(False)
