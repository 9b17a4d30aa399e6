"""HunyuanDiT."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

from diffusers import DDPMScheduler, HunyuanDiT2DModel
from transformers import BertConfig, BertModel

from zoo.networks import t5, vae
from zoo.tokenizers import bert_tokenizer, t5_tokenizer


def hunyuan_dit() -> dict[str, Any]:
    return {
        "tokenizer": bert_tokenizer(),
        "text_encoder": BertModel(
            BertConfig(
                vocab_size=len(bert_tokenizer()),
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                max_position_embeddings=96,
            )
        ),
        "tokenizer_2": t5_tokenizer(),
        "text_encoder_2": t5(32),
        "transformer": HunyuanDiT2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_layers=4,
            num_attention_heads=2,
            attention_head_dim=16,
            hidden_size=32,
            cross_attention_dim=32,
            cross_attention_dim_t5=32,
            pooled_projection_dim=32,
            text_len=77,
            text_len_t5=256,
            mlp_ratio=2.0,
        ),
        "vae": vae(channels=4, scale=0.13025),
        "scheduler": DDPMScheduler(
            beta_start=0.00085,
            beta_end=0.03,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            steps_offset=1,
            clip_sample=False,
        ),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
