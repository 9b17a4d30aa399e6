"""PixArt-Alpha and PixArt-Sigma."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

from diffusers import DPMSolverMultistepScheduler, PixArtTransformer2DModel

from zoo.networks import t5, vae
from zoo.tokenizers import t5_tokenizer


def pixart() -> dict[str, Any]:
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": t5(32),
        "transformer": PixArtTransformer2DModel(
            sample_size=32,  # the smallest that the pipeline takes: it paints 256 px and resizes to what was asked
            in_channels=4,
            out_channels=8,
            num_layers=2,
            patch_size=2,
            num_attention_heads=2,
            attention_head_dim=16,
            cross_attention_dim=32,
            caption_channels=32,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            norm_eps=1e-6,
            use_additional_conditions=False,
        ),
        "vae": vae(channels=4, scale=0.13025),
        "scheduler": DPMSolverMultistepScheduler(beta_schedule="linear", beta_end=0.02),
    }


def pixart_alpha() -> dict[str, Any]:
    return pixart() | {"scheduler": DPMSolverMultistepScheduler(beta_schedule="linear", beta_end=0.02)}
