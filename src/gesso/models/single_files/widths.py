"""The config of a network from the shapes of its tensors, on top of that of its family as published.

What a shape does not tell (activations, block types, scaling) stays as published; widths, depths and the channels of
input and output follow the file, so that inpainting checkpoints, pruned transformers and thin ones fit as they are.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from math import isqrt
from typing import Any

Shape = Callable[[str], tuple[int, ...] | None]
"""Shape of a tensor by its name in diffusers; `None` if it is not there."""
Config = dict[str, Any]

_HEAD = 64
"""Width of a head in every UNet since SD 2, every CLIP and in SD 3."""


def fitted(class_name: str, config: Mapping[str, Any], shape: Shape, keys: Iterable[str]) -> Config:
    """`config` with what the file shows.

    Args:
        keys: names in the file, behind the prefix of the network.
    """
    found = _FITS[class_name](config, shape, list(keys))
    return {**config, **{name: value for name, value in found.items() if value is not None}}


def _size(shape: tuple[int, ...] | None, dimension: int) -> int | None:
    return shape[dimension] if shape is not None and len(shape) > dimension else None


def _blocks(keys: Iterable[str], pattern: str) -> int:
    """How many blocks are numbered so."""
    numbers = [int(match[1]) for key in keys if (match := re.match(pattern, key)) is not None]
    return max(numbers, default=-1) + 1


def _levels(config: Mapping[str, Any], shape: Shape, name: str) -> list[int]:
    published = config["block_out_channels"]
    found = (_size(shape(name.format(level)), 0) for level in range(len(published)))
    return [width or known for width, known in zip(found, published, strict=True)]


def _unet(config: Mapping[str, Any], shape: Shape, keys: list[str]) -> Config:
    widths = _levels(config, shape, "down_blocks.{}.resnets.0.conv1.weight")
    first = next(level for level, kind in enumerate(config["down_block_types"]) if kind.startswith("CrossAttn"))
    block = f"down_blocks.{first}.attentions.0"
    heads = config["attention_head_dim"]  # the number of heads, in spite of its name
    projection = shape(f"{block}.proj_in.weight")
    return {
        "block_out_channels": widths,
        "in_channels": _size(shape("conv_in.weight"), 1),
        "out_channels": _size(shape("conv_out.weight"), 0),
        "cross_attention_dim": _size(shape(f"{block}.transformer_blocks.0.attn2.to_k.weight"), 1),
        "attention_head_dim": heads if isinstance(heads, int) else [max(width // _HEAD, 1) for width in widths],
        "use_linear_projection": None if projection is None else len(projection) == 2,
        "projection_class_embeddings_input_dim": _size(shape("add_embedding.linear_1.weight"), 1),
    }


def _autoencoder(config: Mapping[str, Any], shape: Shape, keys: list[str]) -> Config:
    return {
        "block_out_channels": _levels(config, shape, "encoder.down_blocks.{}.resnets.0.conv1.weight"),
        "latent_channels": _size(shape("decoder.conv_in.weight"), 1),
        "use_quant_conv": "quant_conv.weight" in keys,
        "use_post_quant_conv": "post_quant_conv.weight" in keys,
    }


def _clip(config: Mapping[str, Any], shape: Shape, keys: list[str]) -> Config:
    words = shape("text_model.embeddings.token_embedding.weight")
    width = _size(words, 1)
    layers = _blocks(keys, r"(?:(?:text_model\.)?encoder\.layers|transformer\.resblocks)\.(\d+)\.")
    if config["num_hidden_layers"] == _PENULTIMATE and "text_projection" in keys:
        layers -= 1  # SD 2 reads the layer before the last, and folders leave the last one out
    return {
        "vocab_size": _size(words, 0),
        "hidden_size": width,
        "num_attention_heads": None if width is None else max(width // _HEAD, 1),
        "num_hidden_layers": layers,
        "intermediate_size": _size(shape("text_model.encoder.layers.0.mlp.fc1.weight"), 0),
        "projection_dim": _size(shape("text_projection.weight"), 0),
        "max_position_embeddings": _size(shape("text_model.embeddings.position_embedding.weight"), 0),
    }


_PENULTIMATE = 23
"""Layers of OpenCLIP ViT-H in folders of SD 2; the file has 24."""


def _t5(config: Mapping[str, Any], shape: Shape, keys: list[str]) -> Config:
    first = "encoder.block.0.layer"
    inner = _size(shape(f"{first}.0.SelfAttention.q.weight"), 0)
    return {
        "vocab_size": _size(shape("shared.weight"), 0),
        "d_model": _size(shape("shared.weight"), 1),
        "d_ff": _size(shape(f"{first}.1.DenseReluDense.wi_0.weight"), 0),
        "num_layers": _blocks(keys, r"encoder\.block\.(\d+)\."),
        "num_heads": None if inner is None else max(inner // config["d_kv"], 1),
    }


def _sd3(config: Mapping[str, Any], shape: Shape, keys: list[str]) -> Config:
    width = _size(shape("pos_embed.proj.weight"), 0)
    places = _size(shape("pos_embed.pos_embed"), 1)
    dual = {
        int(match[1])
        for key in keys
        if (
            match := re.match(
                r"(?:joint_blocks\.(?=\d+\.x_block)|transformer_blocks\.)(\d+)\.(?:x_block\.)?attn2\.", key
            )
        )
        is not None
    }
    normed = any(key.endswith(("x_block.attn.ln_q.weight", "attn.norm_q.weight")) for key in keys)
    out = _size(shape("proj_out.weight"), 0)
    return {
        "num_layers": _blocks(keys, r"(?:joint_blocks|transformer_blocks)\.(\d+)\."),
        "num_attention_heads": None if width is None else max(width // config["attention_head_dim"], 1),
        "in_channels": _size(shape("pos_embed.proj.weight"), 1),
        "out_channels": None if out is None else out // config["patch_size"] ** 2,
        "joint_attention_dim": _size(shape("context_embedder.weight"), 1),
        "caption_projection_dim": _size(shape("context_embedder.weight"), 0),
        "pooled_projection_dim": _size(shape("time_text_embed.text_embedder.linear_1.weight"), 1),
        "pos_embed_max_size": None if places is None else isqrt(places),
        "dual_attention_layers": sorted(dual),
        "qk_norm": "rms_norm" if normed else config["qk_norm"],
    }


def _flux(config: Mapping[str, Any], shape: Shape, keys: list[str]) -> Config:
    width = _size(shape("x_embedder.weight"), 0)
    in_channels, out_channels = _size(shape("x_embedder.weight"), 1), _size(shape("proj_out.weight"), 0)
    return {
        "num_layers": _blocks(keys, r"(?:double_blocks|transformer_blocks)\.(\d+)\."),
        "num_single_layers": _blocks(keys, r"(?:single_blocks|single_transformer_blocks)\.(\d+)\."),
        "num_attention_heads": None if width is None else max(width // config["attention_head_dim"], 1),
        "in_channels": in_channels,
        "out_channels": out_channels if out_channels != in_channels else None,
        "joint_attention_dim": _size(shape("context_embedder.weight"), 1),
        "pooled_projection_dim": _size(shape("time_text_embed.text_embedder.linear_1.weight"), 1),
        "guidance_embeds": any(key.startswith(("guidance_in.", "time_text_embed.guidance_embedder.")) for key in keys),
    }


_FITS: Mapping[str, Callable[[Mapping[str, Any], Shape, list[str]], Config]] = {
    "UNet2DConditionModel": _unet,
    "SD3Transformer2DModel": _sd3,
    "FluxTransformer2DModel": _flux,
    "AutoencoderKL": _autoencoder,
    "CLIPTextModel": _clip,
    "CLIPTextModelWithProjection": _clip,
    "T5EncoderModel": _t5,
}
