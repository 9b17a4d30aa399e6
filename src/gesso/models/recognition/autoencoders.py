"""Autoencoders by their signatures: VAEs of pictures, and the tiny ones that are used for previews.

Keys: CompVis/latent-diffusion (`decoder.mid.block_1`), diffusers' `AutoencoderKL`, `AutoencoderKLQwenImage`,
`AutoencoderDC` and `AutoencoderTiny`, Wan-Video (`decoder.middle.0`), madebyollin/taesd (bare numbers). The
number of latent channels tells which families an autoencoder serves, but not which of them it was made for.
"""

from gesso.models.recognition.kinds import Kind, Layout
from gesso.models.recognition.marks import Mark, Signature, has

PREFIXES = ("first_stage_model.", "vae.", "")
_FOUR = ("sd1", "sd2", "sdxl")
_SIXTEEN = ("sd3", "flux1", "z-image", "chroma", "lumina2")
_BY_CHANNELS = {4: _FOUR, 16: _SIXTEEN, 32: ("flux2", "flux2-klein")}


def _vae(families: tuple[str, ...], layout: Layout, *marks: Mark) -> Signature:
    return Signature(kind=Kind.VAE, families=families, layout=layout, marks=marks, prefixes=PREFIXES)


def _tiny(families: tuple[str, ...], layout: Layout, *marks: Mark, half: str | None = None) -> Signature:
    return Signature(kind=Kind.TINY_VAE, families=families, layout=layout, marks=marks, network=half)


VAES = (
    _vae(("qwen-image", "wan"), Layout.ORIGINAL, has("decoder.middle.0.residual.0.gamma")),
    _vae(("qwen-image", "wan"), Layout.DIFFUSERS, has("decoder.mid_block.resnets.0.norm1.gamma")),
    *(
        _vae(
            families,
            Layout.ORIGINAL,
            has("decoder.conv_in.weight", {1: channels}),
            has("decoder.mid.block_1.conv1.weight"),
        )
        for channels, families in _BY_CHANNELS.items()
    ),
    *(
        _vae(
            families,
            Layout.DIFFUSERS,
            has("decoder.conv_in.weight", {1: channels}),
            has("decoder.mid_block.resnets.0.conv1.weight"),
        )
        for channels, families in _BY_CHANNELS.items()
    ),
    _vae(("sana",), Layout.ORIGINAL, has("decoder.stages.1.op_list.0.main.conv.conv.bias")),
    _vae(("sana",), Layout.DIFFUSERS, has("encoder.down_blocks.0.0.conv1.weight"), has("decoder.conv_in.weight")),
    _vae((), Layout.ORIGINAL, has("decoder.conv_in.weight"), has("decoder.mid.block_1.conv1.weight")),
    _vae((), Layout.DIFFUSERS, has("decoder.conv_in.weight"), has("decoder.mid_block.resnets.0.conv1.weight")),
)

TINY_VAES = (
    *(
        signature
        for channels, families in {4: _FOUR, 16: _SIXTEEN}.items()
        for signature in (
            _tiny(
                families,
                Layout.DIFFUSERS,
                has("decoder.layers.0.weight", {1: channels}),
                has("encoder.layers.0.weight"),
            ),
            _tiny(
                families, Layout.ORIGINAL, has("1.weight", {1: channels}), has("3.conv.0.weight"), half="decoder alone"
            ),
        )
    ),
    _tiny((), Layout.ORIGINAL, has("0.weight", {1: 3}), has("1.conv.0.weight"), half="encoder alone"),
)
