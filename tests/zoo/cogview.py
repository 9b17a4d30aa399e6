"""CogView 3-Plus and 4."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

from diffusers import (
    CogVideoXDDIMScheduler,
    CogView3PlusTransformer2DModel,
    CogView4Transformer2DModel,
    FlowMatchEulerDiscreteScheduler,
)

from zoo.language import glm
from zoo.networks import t5, vae
from zoo.tokenizers import bpe_tokenizer, t5_tokenizer

_THIN = {
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "text_embed_dim": 32,
    "time_embed_dim": 32,
    "condition_dim": 8,
    "pos_embed_max_size": 8,
    "sample_size": 8,
}


def cogview3plus() -> dict[str, Any]:
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": t5(32),
        "vae": vae(channels=16, scale=1.0, quant_conv=False),
        "transformer": CogView3PlusTransformer2DModel(**_THIN),
        "scheduler": CogVideoXDDIMScheduler(
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            set_alpha_to_one=True,
            snr_shift_scale=4.0,
            timestep_spacing="trailing",
            clip_sample=False,
        ),
    }


def cogview4() -> dict[str, Any]:
    return {
        "tokenizer": bpe_tokenizer(padding_side="left"),
        "text_encoder": glm(32),
        "vae": vae(channels=16, scale=1.0, shift=0.0, quant_conv=False),
        "transformer": CogView4Transformer2DModel(**_THIN, rope_axes_dim=(256, 256)),
        "scheduler": FlowMatchEulerDiscreteScheduler(
            base_shift=0.25,
            max_shift=0.75,
            base_image_seq_len=256,
            max_image_seq_len=4096,
            use_dynamic_shifting=True,
            time_shift_type="linear",
        ),
    }
