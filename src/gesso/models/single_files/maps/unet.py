"""The UNet of Stable Diffusion 1, 2 and XL.

Original: CompVis/latent-diffusion, `ldm/modules/diffusionmodules/openaimodel.py`, where blocks of all levels are counted
through: `input_blocks` of a level are its residual layers, then its downsampler. Diffusers: `UNet2DConditionModel`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from gesso.models.single_files.maps.base import WEIGHT, WEIGHT_AND_BIAS, Config, KeyMap, Layer, below, layer

_CROSS = "CrossAttn"


def unet_map(config: Config) -> KeyMap:
    """The map of a UNet with this config."""
    return KeyMap(
        (
            layer("input_blocks.0.0", "conv_in"),
            layer("time_embed.0", "time_embedding.linear_1"),
            layer("time_embed.2", "time_embedding.linear_2"),
            *_labels(config),
            *_down(config),
            *_middle(config),
            *_up(config),
            layer("out.0", "conv_norm_out"),
            layer("out.2", "conv_out"),
        )
    )


def _labels(config: Config) -> Iterator[Layer]:
    """What SDXL knows besides the text: sizes, or in the refiner a score."""
    if config.get("addition_embed_type") == "text_time":
        yield layer("label_emb.0.0", "add_embedding.linear_1")
        yield layer("label_emb.0.2", "add_embedding.linear_2")
    elif config.get("class_embed_type") in {"timestep", "projection"}:
        yield layer("label_emb.0.0", "class_embedding.linear_1")
        yield layer("label_emb.0.2", "class_embedding.linear_2")
    elif config.get("num_class_embeds") is not None:
        yield layer("label_emb", "class_embedding", suffixes=WEIGHT)


def _down(config: Config) -> Iterator[Layer]:
    widths = config["block_out_channels"]
    depths, before, block = _depths(config), widths[0], 1
    for level, kind in enumerate(config["down_block_types"]):
        name = f"down_blocks.{level}"
        for index in range(_for_level(config.get("layers_per_block", 2), level)):
            shortcut = before != widths[level]
            yield from below(f"input_blocks.{block}.0", f"{name}.resnets.{index}", _residual(shortcut=shortcut))
            if _CROSS in kind:
                inner = _attention(_for_layer(depths[level], index))
                yield from below(f"input_blocks.{block}.1", f"{name}.attentions.{index}", inner)
            before = widths[level]
            block += 1
        if level < len(widths) - 1:
            yield layer(f"input_blocks.{block}.0.op", f"{name}.downsamplers.0.conv")
            block += 1


def _middle(config: Config) -> Iterator[Layer]:
    if config.get("mid_block_type", "UNetMidBlock2DCrossAttn") is None:
        return
    yield from below("middle_block.0", "mid_block.resnets.0", _residual(shortcut=False))
    depth = _for_layer(_depths(config)[-1], 0)
    yield from below("middle_block.1", "mid_block.attentions.0", _attention(depth))
    yield from below("middle_block.2", "mid_block.resnets.1", _residual(shortcut=False))


def _up(config: Config) -> Iterator[Layer]:
    kinds, block = config["up_block_types"], 0
    depths = config.get("reverse_transformer_layers_per_block") or _depths(config)[::-1]
    for level, kind in enumerate(kinds):
        name = f"up_blocks.{level}"
        layers = _for_level(config.get("layers_per_block", 2), len(kinds) - 1 - level) + 1
        for index in range(layers):  # each reads what a layer on the way down made beside its input: wider than it is
            yield from below(f"output_blocks.{block}.0", f"{name}.resnets.{index}", _residual(shortcut=True))
            if _CROSS in kind:
                inner = _attention(_for_layer(depths[level], index))
                yield from below(f"output_blocks.{block}.1", f"{name}.attentions.{index}", inner)
            block += 1
        if level < len(kinds) - 1:
            place = 2 if _CROSS in kind else 1
            yield layer(f"output_blocks.{block - 1}.{place}.conv", f"{name}.upsamplers.0.conv")


def _residual(*, shortcut: bool) -> Iterator[Layer]:
    yield layer("in_layers.0", "norm1")
    yield layer("in_layers.2", "conv1")
    yield layer("emb_layers.1", "time_emb_proj")
    yield layer("out_layers.0", "norm2")
    yield layer("out_layers.3", "conv2")
    if shortcut:
        yield layer("skip_connection", "conv_shortcut")


def _attention(depth: int) -> Iterator[Layer]:
    """Named alike in both; `proj_in` and `proj_out` are convolutions in both, or linear in both."""
    yield layer("norm", "norm")
    yield layer("proj_in", "proj_in")
    for index in range(depth):
        for name, suffixes in _BLOCK.items():
            path = f"transformer_blocks.{index}.{name}"
            yield Layer(original=path, diffusers=(path,), suffixes=suffixes)
    yield layer("proj_out", "proj_out")


_BLOCK = {
    "norm1": WEIGHT_AND_BIAS,
    "attn1.to_q": WEIGHT,
    "attn1.to_k": WEIGHT,
    "attn1.to_v": WEIGHT,
    "attn1.to_out.0": WEIGHT_AND_BIAS,
    "norm2": WEIGHT_AND_BIAS,
    "attn2.to_q": WEIGHT,
    "attn2.to_k": WEIGHT,
    "attn2.to_v": WEIGHT,
    "attn2.to_out.0": WEIGHT_AND_BIAS,
    "norm3": WEIGHT_AND_BIAS,
    "ff.net.0.proj": WEIGHT_AND_BIAS,
    "ff.net.2": WEIGHT_AND_BIAS,
}


def _depths(config: Config) -> Sequence[Any]:
    """Transformer blocks of each level; a list where its layers differ."""
    depth = config.get("transformer_layers_per_block", 1)
    return [depth] * len(config["down_block_types"]) if isinstance(depth, int) else depth


def _for_level(layers: Any, level: int) -> int:
    return layers if isinstance(layers, int) else layers[level]


def _for_layer(depth: Any, index: int) -> int:
    return depth if isinstance(depth, int) else depth[index]
