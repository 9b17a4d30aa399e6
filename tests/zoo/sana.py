"""Sana and Sana Sprint: a deep autoencoder, a language model that reads, and linear attention."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

from diffusers import AutoencoderDC, DPMSolverMultistepScheduler, SanaTransformer2DModel, SCMScheduler

from zoo.language import gemma2
from zoo.tokenizers import gemma_tokenizer


def _deep_vae() -> AutoencoderDC:
    """32 pixels a latent, as in the release."""
    blocks = ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3
    scales = ((), (), (), (5,), (5,), (5,))
    widths = (4, 4, 8, 8, 16, 32)  # the last is no less than the latents: shortcuts repeat them
    return AutoencoderDC(
        latent_channels=32,
        attention_head_dim=4,
        encoder_block_types=blocks,
        decoder_block_types=blocks,
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        encoder_layers_per_block=(1,) * 6,
        decoder_layers_per_block=(1,) * 6,
        encoder_qkv_multiscales=scales,
        decoder_qkv_multiscales=scales,
        upsample_block_type="interpolate",
        scaling_factor=0.41407,
    )


def _transformer(**options: Any) -> SanaTransformer2DModel:
    return SanaTransformer2DModel(
        in_channels=32,
        out_channels=32,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=16,
        cross_attention_dim=32,
        caption_channels=32,
        **options,
    )


def sana() -> dict[str, Any]:
    return {
        "tokenizer": gemma_tokenizer(),
        "text_encoder": gemma2(32),
        "vae": _deep_vae(),
        "transformer": _transformer(sample_size=16),
        "scheduler": DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    }


def sana_sprint() -> dict[str, Any]:
    return sana() | {
        "transformer": _transformer(sample_size=32, guidance_embeds=True, qk_norm="rms_norm_across_heads"),
        "scheduler": SCMScheduler(prediction_type="trigflow", sigma_data=0.5),
    }
