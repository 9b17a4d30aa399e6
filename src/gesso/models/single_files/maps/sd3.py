"""The transformer of Stable Diffusion 3 and 3.5.

Original: Stability-AI/sd3.5, `mmditx.py`. Diffusers: `SD3Transformer2DModel`. Of the last block only the picture's half
goes on; its text half has a norm alone, which like that of the output has its halves the other way round.
"""

from collections.abc import Iterator

from gesso.models.single_files.maps.base import WEIGHT, Config, KeyMap, Layer, below, layer
from gesso.models.views import Form


def sd3_map(config: Config) -> KeyMap:
    """The map of a transformer with this config."""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    blocks = config["num_layers"]
    dual = frozenset(config.get("dual_attention_layers") or ())
    return KeyMap(
        (
            layer("pos_embed", "pos_embed.pos_embed", suffixes=(("", ""),)),
            layer("x_embedder.proj", "pos_embed.proj"),
            layer("context_embedder", "context_embedder"),
            layer("t_embedder.mlp.0", "time_text_embed.timestep_embedder.linear_1"),
            layer("t_embedder.mlp.2", "time_text_embed.timestep_embedder.linear_2"),
            layer("y_embedder.mlp.0", "time_text_embed.text_embedder.linear_1"),
            layer("y_embedder.mlp.2", "time_text_embed.text_embedder.linear_2"),
            *(
                each
                for index in range(blocks)
                for each in below(
                    f"joint_blocks.{index}",
                    f"transformer_blocks.{index}",
                    _block(width, normed=bool(config.get("qk_norm")), dual=index in dual, last=index == blocks - 1),
                )
            ),
            layer("final_layer.adaLN_modulation.1", "norm_out.linear", form=Form.SWAPPED),
            layer("final_layer.linear", "proj_out"),
        )
    )


def _block(width: int, *, normed: bool, dual: bool, last: bool) -> Iterator[Layer]:
    fused = (width, width, width)
    yield layer("x_block.adaLN_modulation.1", "norm1.linear")
    yield layer("x_block.attn.qkv", "attn.to_q", "attn.to_k", "attn.to_v", rows=fused)
    yield layer("x_block.attn.proj", "attn.to_out.0")
    if normed:
        yield layer("x_block.attn.ln_q", "attn.norm_q", suffixes=WEIGHT)
        yield layer("x_block.attn.ln_k", "attn.norm_k", suffixes=WEIGHT)
    if dual:
        yield layer("x_block.attn2.qkv", "attn2.to_q", "attn2.to_k", "attn2.to_v", rows=fused)
        yield layer("x_block.attn2.proj", "attn2.to_out.0")
        if normed:
            yield layer("x_block.attn2.ln_q", "attn2.norm_q", suffixes=WEIGHT)
            yield layer("x_block.attn2.ln_k", "attn2.norm_k", suffixes=WEIGHT)
    yield layer("x_block.mlp.fc1", "ff.net.0.proj")
    yield layer("x_block.mlp.fc2", "ff.net.2")
    yield layer("context_block.adaLN_modulation.1", "norm1_context.linear", form=Form.SWAPPED if last else Form.SAME)
    yield layer("context_block.attn.qkv", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", rows=fused)
    if normed:
        yield layer("context_block.attn.ln_q", "attn.norm_added_q", suffixes=WEIGHT)
        yield layer("context_block.attn.ln_k", "attn.norm_added_k", suffixes=WEIGHT)
    if not last:
        yield layer("context_block.attn.proj", "attn.to_add_out")
        yield layer("context_block.mlp.fc1", "ff_context.net.0.proj")
        yield layer("context_block.mlp.fc2", "ff_context.net.2")
