"""Thin networks that more than one kind of pipeline has, and the weights of all."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, T5Config, T5EncoderModel

from zoo.tokenizers import clip_vocabulary, t5_tokenizer

PICTURE_PX = 64
"""Width and height of the pictures; pass them to `DiffusionPipeline.__call__`."""


def stir(module: nn.Module, seed: int) -> nn.Module:
    """Overwrite every weight with noise of unit gain, also those that a fresh network sets to zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim >= 2 and "embedding" in name and "linear" not in name:
            values = noise * 0.7  # a table: rows are read, not summed
        elif parameter.ndim >= 2:
            values = noise / (parameter.numel() / parameter.shape[0]) ** 0.5
        elif name.endswith("bias"):
            values = noise * 0.05
        else:
            values = 1 + noise * 0.1  # the scale of a norm
        parameter.data.copy_(values)
    return module.eval().requires_grad_(False)


def clip_config(width: int, layers: int, **options: Any) -> CLIPTextConfig:
    vocabulary_size = len(clip_vocabulary()[0])
    # The released configs say begin 0 and end 2, which no tokenizer means: transformers then pools at the highest id.
    ends = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    return CLIPTextConfig(
        vocab_size=vocabulary_size,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        **{"hidden_act": "quick_gelu", "projection_dim": width, "max_position_embeddings": 77, **ends, **options},
    )


def t5(width: int) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(t5_tokenizer()),
            d_model=width,
            d_kv=width // 2,
            d_ff=2 * width,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
        )
    )


def vae(*, channels: int, scale: float, shift: float | None = None, quant_conv: bool = True) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=channels,
        sample_size=PICTURE_PX,
        scaling_factor=scale,
        shift_factor=shift,
        use_quant_conv=quant_conv,
        use_post_quant_conv=quant_conv,
    )


def tiny_vae(*, channels: int, width: int = 8) -> AutoencoderTiny:
    """Layer for layer that of madebyollin/taesd, which is 64 wide."""
    widths = (width,) * 4
    return AutoencoderTiny(
        latent_channels=channels, encoder_block_out_channels=widths, decoder_block_out_channels=widths
    )


def unet(*, cross_attention: int, **options: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=cross_attention,
        **options,
    )
