"""The VAE of Stable Diffusion 1 to 3 and Flux.1.

Original: CompVis/latent-diffusion, `ldm/modules/diffusionmodules/model.py`, whose decoder counts its levels from the
picture and not from the latents. Diffusers: `AutoencoderKL`.
"""

from collections.abc import Iterator

from gesso.models.single_files.maps.base import Config, KeyMap, Layer, below, layer
from gesso.models.views import Form


def autoencoder_map(config: Config) -> KeyMap:
    """The map of a VAE with this config."""
    widths, layers = config["block_out_channels"], config.get("layers_per_block", 1)
    return KeyMap(
        (
            *below("encoder", "encoder", _encoder(config, widths, layers)),
            *below("decoder", "decoder", _decoder(config, widths[::-1], layers + 1)),
            *([layer("quant_conv", "quant_conv")] if config.get("use_quant_conv", True) else []),
            *([layer("post_quant_conv", "post_quant_conv")] if config.get("use_post_quant_conv", True) else []),
        )
    )


def _encoder(config: Config, widths: list[int], layers: int) -> Iterator[Layer]:
    yield layer("conv_in", "conv_in")
    before = widths[0]
    for level, width in enumerate(widths):
        for index in range(layers):
            inner = _residual(shortcut=before != width)
            yield from below(f"down.{level}.block.{index}", f"down_blocks.{level}.resnets.{index}", inner)
            before = width
        if level < len(widths) - 1:
            yield layer(f"down.{level}.downsample.conv", f"down_blocks.{level}.downsamplers.0.conv")
    yield from _middle(config)
    yield from _out()


def _decoder(config: Config, widths: list[int], layers: int) -> Iterator[Layer]:
    """`widths` from the latents on."""
    yield layer("conv_in", "conv_in")
    yield from _middle(config)
    before = widths[0]
    for level, width in enumerate(widths):
        original = len(widths) - 1 - level
        for index in range(layers):
            inner = _residual(shortcut=before != width)
            yield from below(f"up.{original}.block.{index}", f"up_blocks.{level}.resnets.{index}", inner)
            before = width
        if level < len(widths) - 1:
            yield layer(f"up.{original}.upsample.conv", f"up_blocks.{level}.upsamplers.0.conv")
    yield from _out()


def _middle(config: Config) -> Iterator[Layer]:
    yield from below("mid.block_1", "mid_block.resnets.0", _residual(shortcut=False))
    if config.get("mid_block_add_attention", True):
        yield layer("mid.attn_1.norm", "mid_block.attentions.0.group_norm")
        for theirs, ours in {"q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}.items():
            yield layer(f"mid.attn_1.{theirs}", f"mid_block.attentions.0.{ours}", form=Form.CONVOLUTION)
    yield from below("mid.block_2", "mid_block.resnets.1", _residual(shortcut=False))


def _out() -> Iterator[Layer]:
    yield layer("norm_out", "conv_norm_out")
    yield layer("conv_out", "conv_out")


def _residual(*, shortcut: bool) -> Iterator[Layer]:
    for name in ("norm1", "conv1", "norm2", "conv2"):
        yield layer(name, name)
    if shortcut:
        yield layer("nin_shortcut", "conv_shortcut")
