"""Flux.1."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from collections.abc import Mapping
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from transformers import CLIPTextModel

from zoo.networks import clip_config, t5, vae
from zoo.tokenizers import clip_tokenizer, t5_tokenizer


def _flux(*, guidance_embeds: bool, scheduler: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": t5_tokenizer(),
        "text_encoder": CLIPTextModel(clip_config(16, 2)),
        "text_encoder_2": t5(32),
        "transformer": FluxTransformer2DModel(
            patch_size=1,
            in_channels=64,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 6, 6),
            guidance_embeds=guidance_embeds,
        ),
        "vae": vae(channels=16, scale=0.3611, shift=0.1159, quant_conv=False),
        "scheduler": FlowMatchEulerDiscreteScheduler(**scheduler),
    }


def flux_dev() -> dict[str, Any]:
    return _flux(guidance_embeds=True, scheduler={"shift": 3.0, "use_dynamic_shifting": True})


def flux_schnell() -> dict[str, Any]:
    return _flux(guidance_embeds=False, scheduler={"shift": 1.0})
