"""Lumina 2."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, Lumina2Transformer2DModel

from zoo.language import gemma2
from zoo.networks import vae
from zoo.tokenizers import gemma_tokenizer


def lumina2() -> dict[str, Any]:
    return {
        "tokenizer": gemma_tokenizer(),
        "text_encoder": gemma2(32),
        "vae": vae(channels=16, scale=0.3611, shift=0.1159, quant_conv=False),
        "transformer": Lumina2Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=16,
            hidden_size=32,
            num_layers=2,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(4, 6, 6),
            axes_lens=(600, 32, 32),
            cap_feat_dim=32,
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=6.0),
    }
