"""The transformer of Flux.1.

Original: black-forest-labs/flux, `src/flux/model.py`. Diffusers: `FluxTransformer2DModel`. `linear1` of a single block
is query, key, value and the first half of its feed-forward, one below the other.
"""

from collections.abc import Iterator

from gesso.models.single_files.maps.base import Config, KeyMap, Layer, below, layer
from gesso.models.views import Form

FEED_FORWARD = 4
"""Times as wide as the block, in both implementations."""
_SCALE = ((".scale", ".weight"),)


def flux_map(config: Config) -> KeyMap:
    """The map of a transformer with this config."""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    embedders = {"time_in": "timestep_embedder", "vector_in": "text_embedder"}
    if config.get("guidance_embeds"):
        embedders["guidance_in"] = "guidance_embedder"
    return KeyMap(
        (
            layer("img_in", "x_embedder"),
            layer("txt_in", "context_embedder"),
            *(
                layer(f"{theirs}.{half}_layer", f"time_text_embed.{ours}.linear_{number}")
                for theirs, ours in embedders.items()
                for number, half in ((1, "in"), (2, "out"))
            ),
            *(
                each
                for index in range(config["num_layers"])
                for each in below(f"double_blocks.{index}", f"transformer_blocks.{index}", _double(width))
            ),
            *(
                each
                for index in range(config["num_single_layers"])
                for each in below(f"single_blocks.{index}", f"single_transformer_blocks.{index}", _single(width))
            ),
            layer("final_layer.adaLN_modulation.1", "norm_out.linear", form=Form.SWAPPED),
            layer("final_layer.linear", "proj_out"),
        )
    )


def _double(width: int) -> Iterator[Layer]:
    fused = (width, width, width)
    yield layer("img_mod.lin", "norm1.linear")
    yield layer("img_attn.qkv", "attn.to_q", "attn.to_k", "attn.to_v", rows=fused)
    yield layer("img_attn.norm.query_norm", "attn.norm_q", suffixes=_SCALE)
    yield layer("img_attn.norm.key_norm", "attn.norm_k", suffixes=_SCALE)
    yield layer("img_attn.proj", "attn.to_out.0")
    yield layer("img_mlp.0", "ff.net.0.proj")
    yield layer("img_mlp.2", "ff.net.2")
    yield layer("txt_mod.lin", "norm1_context.linear")
    yield layer("txt_attn.qkv", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", rows=fused)
    yield layer("txt_attn.norm.query_norm", "attn.norm_added_q", suffixes=_SCALE)
    yield layer("txt_attn.norm.key_norm", "attn.norm_added_k", suffixes=_SCALE)
    yield layer("txt_attn.proj", "attn.to_add_out")
    yield layer("txt_mlp.0", "ff_context.net.0.proj")
    yield layer("txt_mlp.2", "ff_context.net.2")


def _single(width: int) -> Iterator[Layer]:
    yield layer("modulation.lin", "norm.linear")
    yield layer(
        "linear1", "attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp", rows=(width, width, width, FEED_FORWARD * width)
    )
    yield layer("norm.query_norm", "attn.norm_q", suffixes=_SCALE)
    yield layer("norm.key_norm", "attn.norm_k", suffixes=_SCALE)
    yield layer("linear2", "proj_out")
