"""AuraFlow."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

from diffusers import AuraFlowTransformer2DModel, FlowMatchEulerDiscreteScheduler
from transformers import UMT5Config, UMT5EncoderModel

from zoo.networks import vae
from zoo.tokenizers import t5_tokenizer


def aura_flow() -> dict[str, Any]:
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(t5_tokenizer()),
                d_model=32,
                d_kv=16,
                d_ff=64,
                num_layers=2,
                num_heads=2,
                feed_forward_proj="gated-gelu",
                is_encoder_decoder=False,
                use_cache=False,
            )
        ),
        "vae": vae(channels=4, scale=0.13025),
        "transformer": AuraFlowTransformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            caption_projection_dim=32,
            pos_embed_max_size=64,
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=1.73),
    }
