"""Bria 3: a class that Gesso has no data for, as any new class of diffusers."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

from diffusers import BriaTransformer2DModel, FlowMatchEulerDiscreteScheduler

from zoo.networks import t5, vae
from zoo.tokenizers import t5_tokenizer


def bria() -> dict[str, Any]:
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": t5(32),
        "transformer": BriaTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            axes_dims_rope=(0, 8, 8),
            guidance_embeds=False,
        ),
        "vae": vae(channels=4, scale=0.13025, shift=0.0),
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "image_encoder": None,
        "feature_extractor": None,
    }
