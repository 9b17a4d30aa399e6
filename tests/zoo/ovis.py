"""Ovis-Image."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, OvisImageTransformer2DModel

from zoo.language import qwen3
from zoo.networks import vae
from zoo.tokenizers import qwen_tokenizer


def ovis_image() -> dict[str, Any]:
    return {
        "tokenizer": qwen_tokenizer(),
        "text_encoder": qwen3(32),
        "transformer": OvisImageTransformer2DModel(
            patch_size=1,
            in_channels=64,
            out_channels=64,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            axes_dims_rope=(4, 6, 6),
        ),
        "vae": vae(channels=16, scale=0.3611, shift=0.1159, quant_conv=False),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    }
