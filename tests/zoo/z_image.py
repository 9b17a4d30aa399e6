"""Z-Image."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, ZImageTransformer2DModel
from transformers import Qwen3Config, Qwen3Model

from zoo.networks import vae
from zoo.tokenizers import qwen_tokenizer


def _z_image(shift: float) -> dict[str, Any]:
    return {
        "tokenizer": qwen_tokenizer(),
        "text_encoder": Qwen3Model(
            Qwen3Config(
                vocab_size=len(qwen_tokenizer()),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=3,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=16,
            )
        ),
        "transformer": ZImageTransformer2DModel(
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=32,
            axes_dims=[4, 6, 6],
            axes_lens=[1536, 512, 512],
        ),
        "vae": vae(channels=16, scale=0.3611, shift=0.1159, quant_conv=False),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=shift),
    }


def z_image() -> dict[str, Any]:
    return _z_image(shift=6.0)


def z_image_turbo() -> dict[str, Any]:
    return _z_image(shift=3.0)
