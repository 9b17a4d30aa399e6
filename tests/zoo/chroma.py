"""Chroma: Flux without guidance as an input, guided by a second pass."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

from diffusers import ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler

from zoo.networks import t5, vae
from zoo.tokenizers import t5_tokenizer


def chroma() -> dict[str, Any]:
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": t5(32),
        "transformer": ChromaTransformer2DModel(
            patch_size=1,
            in_channels=64,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            axes_dims_rope=(4, 6, 6),
            approximator_num_channels=16,
            approximator_hidden_dim=32,
            approximator_layers=1,
        ),
        "vae": vae(channels=16, scale=0.3611, shift=0.1159, quant_conv=False),
        "scheduler": FlowMatchEulerDiscreteScheduler(
            use_beta_sigmas=False, use_dynamic_shifting=False, shift=1.0, shift_terminal=None
        ),
        "image_encoder": None,
        "feature_extractor": None,
    }
