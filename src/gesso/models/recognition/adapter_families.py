"""Which family an adapter fits: names and widths of the layers that it changes, as data."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gesso.models.recognition.adapter_keys import AdaptedLayer
from gesso.models.recognition.kinds import Conclusion
from gesso.models.recognition.marks import shown


@dataclass(frozen=True, kw_only=True)
class Fit:
    """An adapter with such a layer fits these families."""

    families: tuple[str, ...]
    layer: re.Pattern[str]
    """Of its flat name, from the beginning."""
    width_in: int | None = None
    width_out: int | None = None
    variant: str | None = None
    why_guess: str | None = None
    """What else has such layers."""

    def meets(self, layer: AdaptedLayer) -> bool:
        return (
            (self.width_in is None or self.width_in == layer.width_in)
            and (self.width_out is None or self.width_out == layer.width_out)
            and self.layer.match(layer.name) is not None
        )


def _fit(
    families: str,
    layer: str,
    *,
    reads: int | None = None,
    makes: int | None = None,
    variant: str | None = None,
    or_else: str | None = None,
) -> Fit:
    return Fit(
        families=tuple(families.split()),
        layer=re.compile(layer),
        width_in=reads,
        width_out=makes,
        variant=variant,
        why_guess=or_else,
    )


_UNET = r"(?:down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block)_"
_UNET_TEXT = _UNET + r".*attn2_to_[kv]$"
_SINGLE = r"single_blocks_\d+_linear1$"
_CHROMA = "layers of Chroma and of Flux.2 klein have the same names"

FITS = (
    _fit("flux2", r"double_stream_modulation|single_stream_modulation", reads=6144),
    _fit("flux2-klein", r"double_stream_modulation|single_stream_modulation"),
    # The first linear layer of a single block makes query, key, value and a gated MLP: 9 widths.
    _fit("flux2", _SINGLE, makes=55296),
    _fit("flux2-klein", _SINGLE, makes=36864),
    _fit("flux2-klein", _SINGLE, makes=27648),
    _fit("flux2", r"single_transformer_blocks_\d+_attn_to_qkv_mlp_proj", reads=6144),
    _fit("flux2-klein", r"single_transformer_blocks_\d+_attn_to_qkv_mlp_proj"),
    _fit("flux2", r"double_blocks_\d+_", reads=6144),
    _fit("flux2-klein", r"double_blocks_\d+_", reads=4096),
    _fit("chroma", r"distilled_guidance_layer"),
    _fit("hunyuan-video", r"txt_in_individual_token_refiner"),
    _fit("hidream", r"double_stream_blocks_"),
    _fit("flux1", r"(?:double|single)_blocks_\d+_(?:(?:img|txt)_mod|modulation)_lin|vector_in|guidance_in"),
    _fit("flux1", r"double_blocks_\d+_(?:proj|qkv)$", reads=3072),  # x-flux, which is for no other
    _fit("flux1", r"(?:double|single)_blocks_\d+_", or_else=_CHROMA),
    _fit("auraflow", r"joint_transformer_blocks_"),
    _fit("flux1", r"single_transformer_blocks_\d+_norm_linear"),
    _fit("flux1", r"single_transformer_blocks_", or_else=_CHROMA),
    _fit("qwen-image", r"transformer_blocks_\d+_(?:img|txt)_(?:mod|mlp)"),
    _fit("qwen-image", r"transformer_blocks_(?:19|[2-5]\d)_attn_", reads=3072),  # Flux.1 has 19 blocks, to 18
    _fit("flux1", r"transformer_blocks_\d+_attn_", reads=3072, or_else="the first blocks of Qwen-Image look the same"),
    _fit("sd3", r"joint_blocks_\d+_", reads=1536, variant="medium"),
    _fit("sd3", r"joint_blocks_\d+_", reads=2432, variant="3.5 large"),
    _fit("sd3", r"joint_blocks_\d+_"),
    _fit("sd3", r"transformer_blocks_\d+_attn2?_", reads=1536, variant="medium"),
    _fit("sd3", r"transformer_blocks_\d+_attn_", reads=2432, variant="3.5 large"),
    _fit("z-image", r"(?:layers|noise_refiner|context_refiner)_\d+_", reads=3840),
    _fit("lumina2", r"(?:layers|noise_refiner|context_refiner)_\d+_", reads=2304),
    _fit("sd1", _UNET_TEXT, reads=768),
    _fit("sd2", _UNET_TEXT, reads=1024),
    _fit("sdxl", _UNET_TEXT, reads=2048),
    _fit("sdxl-refiner", _UNET_TEXT, reads=1280),
    # Without cross-attention: how many transformer blocks there are, and at which level.
    _fit("sdxl", r"(?:down_blocks_2_attentions_\d|mid_block_attentions_0|middle_block_1)_transformer_blocks_[1-9]"),
    _fit("sdxl", r"(?:down_blocks_1_attentions_\d|input_blocks_[45]_1)_transformer_blocks_1_", reads=640),
    _fit("sd1 sd2", r"(?:down_blocks_0_attentions|input_blocks_[12]_1)_", reads=320),
    _fit("wan", r"blocks_\d+_(?:self_attn|cross_attn)_[qkvo]$"),
    _fit("hunyuan-dit", r"blocks_\d+_attn[12]_", reads=1408),
    _fit("wan", r"blocks_\d+_attn[12]_to_"),
    _fit("sana", r"transformer_blocks_\d+_attn[12]_to_", reads=2240),
    _fit("ltx-video", r"transformer_blocks_\d+_attn[12]_to_", reads=2048),
    _fit("pixart", r"transformer_blocks_\d+_attn[12]_to_", reads=1152, or_else="the small Sana has the same width"),
    # Text encoders alone.
    _fit("sdxl", r"te2_text_model", reads=1280, or_else="SD 3 reads this text encoder too"),
    _fit("sd1", r"te_text_model", reads=768),
    _fit("sd2", r"te_text_model", reads=1024),
    _fit("sd1", r"te1?_text_model", reads=768, or_else="other families read this text encoder too"),
)
"""In this order: the first that any layer meets. Sizes are those of the published networks."""


def family_of(layers: Iterable[AdaptedLayer]) -> tuple[Fit, Conclusion] | None:
    """The families that an adapter of these layers fits."""
    known = list(layers)
    for fit in FITS:
        for layer in known:
            if fit.meets(layer):
                sizes = [
                    *([f"reads {fit.width_in} features"] if fit.width_in else []),
                    *([f"makes {fit.width_out} features"] if fit.width_out else []),
                ]
                evidence = f"{shown(layer.key)}{': its layer ' + ' and '.join(sizes) if sizes else ''}"
                why = f"; {fit.why_guess}" if fit.why_guess else ""
                return fit, Conclusion(
                    value=" or ".join(fit.families), evidence=evidence + why, guess=fit.why_guess is not None
                )
    return None
