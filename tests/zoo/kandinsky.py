"""Kandinsky 3."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

from diffusers import DDPMScheduler, Kandinsky3UNet, VQModel

from zoo.networks import t5
from zoo.tokenizers import t5_tokenizer


def kandinsky3() -> dict[str, Any]:
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": t5(32),
        "unet": Kandinsky3UNet(
            in_channels=4,
            time_embedding_dim=16,
            groups=2,
            attention_head_dim=4,
            layers_per_block=2,
            block_out_channels=(8, 16, 16, 32),
            cross_attention_dim=16,
            encoder_hid_dim=32,
        ),
        "movq": VQModel(
            down_block_types=("DownEncoderBlock2D",) * 3 + ("AttnDownEncoderBlock2D",),
            up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * 3,
            block_out_channels=(4, 4, 8, 8),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=2,
            norm_type="group",  # released: "spatial", which has 32 groups and so would be no thin network
            num_vq_embeddings=16,
            vq_embed_dim=4,
        ),
        "scheduler": DDPMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=True, clip_sample_range=2.0),
    }
