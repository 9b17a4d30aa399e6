"""Flux.2 dev and klein."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2Transformer2DModel
from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MistralConfig,
    PixtralVisionConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from zoo.networks import PICTURE_PX
from zoo.tokenizers import mistral_tokenizer, qwen_tokenizer

_WIDTH = 8


def _language(vocabulary: int, layers: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
    }


def _vae() -> AutoencoderKLFlux2:
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        sample_size=PICTURE_PX,
    )
    # Statistics that make a difference: fresh ones are 0 and 1.
    generator = torch.Generator().manual_seed(0)
    vae.bn.running_mean = torch.randn(128, generator=generator) * 0.1
    vae.bn.running_var = torch.rand(128, generator=generator) + 0.5
    return vae


def _flux2(text_encoder: Any, tokenizer: Any, *, guidance_embeds: bool) -> dict[str, Any]:
    return {
        "tokenizer": tokenizer,
        "text_encoder": text_encoder,
        "transformer": Flux2Transformer2DModel(
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * _WIDTH,  # three layers of the text encoder side by side
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=guidance_embeds,
        ),
        "vae": _vae(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    }


def flux2_dev() -> dict[str, Any]:
    tokenizer = mistral_tokenizer()
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoder = Mistral3ForConditionalGeneration(
        Mistral3Config(
            text_config=MistralConfig(**_language(len(tokenizer), 30)),  # the pipeline reads layers 10, 20 and 30
            vision_config=PixtralVisionConfig(**vision, image_size=32, patch_size=16),
            image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        )
    )
    return _flux2(encoder, tokenizer, guidance_embeds=True)


def _klein(*, is_distilled: bool) -> dict[str, Any]:
    tokenizer = qwen_tokenizer()
    encoder = Qwen3ForCausalLM(Qwen3Config(**_language(len(tokenizer), 27)))  # the pipeline reads layers 9, 18 and 27
    return _flux2(encoder, tokenizer, guidance_embeds=False) | {"is_distilled": is_distilled}


def flux2_klein() -> dict[str, Any]:
    return _klein(is_distilled=True)


def flux2_klein_base() -> dict[str, Any]:
    return _klein(is_distilled=False)
