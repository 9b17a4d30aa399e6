"""Thin language models, which newer pipelines read prompts with."""

# transformers annotates options more narrowly than it takes them.
# pyright: reportArgumentType=false

from typing import Any

from transformers import (
    Gemma2Config,
    Gemma2Model,
    GlmConfig,
    GlmModel,
    Qwen3Config,
    Qwen3Model,
)

from zoo.tokenizers import bpe_tokenizer, gemma_tokenizer, qwen_tokenizer


def _thin(width: int, vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": width // 2,
        "max_position_embeddings": 4096,
    }


def gemma2(width: int) -> Gemma2Model:
    return Gemma2Model(Gemma2Config(**_thin(width, len(gemma_tokenizer())), query_pre_attn_scalar=width // 2))


def glm(width: int) -> GlmModel:
    return GlmModel(GlmConfig(**_thin(width, len(bpe_tokenizer())), pad_token_id=0, eos_token_id=0))


def qwen3(width: int) -> Qwen3Model:
    return Qwen3Model(Qwen3Config(**_thin(width, len(qwen_tokenizer()))))
