"""Networks beside a denoiser, by their signatures: ControlNets, T2I-Adapters, IP-Adapters, motion modules.

Keys: lllyasviel/ControlNet (`zero_convs`, `input_hint_block`), stabilityai/control-lora, diffusers' ControlNet classes,
XLabs-AI/x-flux, TencentARC/T2I-Adapter, tencent-ailab/IP-Adapter, guoyww/AnimateDiff. As with UNets, the width of the
text that is read tells the family.
"""

from gesso.models.recognition.kinds import Kind, Layout
from gesso.models.recognition.marks import Mark, Signature, has
from gesso.models.recognition.unets import (
    FIRST_TEXT,
    FIRST_TEXT_DIFFUSERS,
    LABELS_DIFFUSERS,
    SECOND_TEXT,
    SECOND_TEXT_DIFFUSERS,
)

_HINT, _ZERO = has("input_hint_block.0.weight"), has("zero_convs.0.0.weight")
_HINT_DIFFUSERS = has("controlnet_cond_embedding.conv_in.weight")
_OUT = has("controlnet_blocks.0.weight")


def _controlnet(family: str | None, layout: Layout, *marks: Mark, network: str | None = None) -> Signature:
    return Signature(
        kind=Kind.CONTROLNET,
        families=(family,) if family else (),
        layout=layout,
        marks=marks,
        prefixes=("control_model.", "") if layout is Layout.ORIGINAL else ("controlnet.", ""),
        network=network,
    )


CONTROLNETS = (
    _controlnet("sd1", Layout.ORIGINAL, _HINT, _ZERO, has(FIRST_TEXT, {1: 768})),
    _controlnet("sd2", Layout.ORIGINAL, _HINT, _ZERO, has(FIRST_TEXT, {1: 1024})),
    _controlnet("sdxl", Layout.ORIGINAL, _HINT, _ZERO, has(SECOND_TEXT, {1: 2048})),
    _controlnet(
        "sdxl",
        Layout.ORIGINAL,
        has("lora_controlnet"),
        has(SECOND_TEXT.replace(".weight", ".down"), {1: 2048}),
        network="control-LoRA",
    ),
    _controlnet(None, Layout.ORIGINAL, has("lora_controlnet"), _HINT, network="control-LoRA"),
    _controlnet(None, Layout.ORIGINAL, _HINT, _ZERO),
    _controlnet("sd1", Layout.DIFFUSERS, _HINT_DIFFUSERS, has(FIRST_TEXT_DIFFUSERS, {1: 768})),
    _controlnet("sd2", Layout.DIFFUSERS, _HINT_DIFFUSERS, has(FIRST_TEXT_DIFFUSERS, {1: 1024})),
    _controlnet(
        "sdxl",
        Layout.DIFFUSERS,
        _HINT_DIFFUSERS,
        has("control_add_embedding.linear_1.weight"),
        network="union of several",
    ),
    _controlnet("sdxl", Layout.DIFFUSERS, _HINT_DIFFUSERS, has(SECOND_TEXT_DIFFUSERS, {1: 2048})),
    _controlnet("sdxl", Layout.DIFFUSERS, _HINT_DIFFUSERS, has(LABELS_DIFFUSERS)),  # the small ones have no attention
    _controlnet(None, Layout.DIFFUSERS, _HINT_DIFFUSERS),
    _controlnet("qwen-image", Layout.DIFFUSERS, _OUT, has("transformer_blocks.0.img_mod.1.weight")),
    _controlnet("sd3", Layout.DIFFUSERS, _OUT, has("pos_embed_input.proj.weight")),
    _controlnet("flux1", Layout.X_FLUX, _OUT, has("double_blocks.0.img_attn.qkv.weight")),
    _controlnet("flux1", Layout.DIFFUSERS, _OUT, has("controlnet_x_embedder.weight")),
    _controlnet("z-image", Layout.ORIGINAL, has("control_layers.0.adaLN_modulation.0.weight")),
)

_T2I_CHANNELS = {192: "sd1", 64: "sd1", 768: "sdxl", 256: "sdxl"}
"""Input channels: 1 or 3, times the square of 8 (SD 1) or 16 (SDXL) by which pictures are folded."""

T2I_ADAPTERS = (
    *(
        Signature(
            kind=Kind.T2I_ADAPTER,
            families=(family,),
            layout=layout,
            marks=(has("conv_in.weight", {1: channels}), has(block)),
            prefixes=("adapter.", ""),
        )
        for channels, family in _T2I_CHANNELS.items()
        for layout, block in (
            (Layout.ORIGINAL, "body.0.block1.weight"),
            (Layout.DIFFUSERS, "body.0.resnets.0.block1.weight"),
        )
    ),
    Signature(
        kind=Kind.T2I_ADAPTER,
        families=("sd1",),
        layout=Layout.ORIGINAL,
        marks=(has("body.0.in_conv.weight"), has("body.0.out_conv.weight")),
        prefixes=("adapter.", ""),
        network="light",
    ),
)

IP_ADAPTERS = (
    *(
        Signature(
            kind=Kind.IP_ADAPTER,
            families=(family,),
            layout=Layout.ORIGINAL,
            marks=(has("ip_adapter.1.to_k_ip.weight", {1: width}),),
        )
        for width, family in {768: "sd1", 1024: "sd2", 2048: "sdxl"}.items()
    ),
    Signature(
        kind=Kind.IP_ADAPTER,
        families=("flux1",),
        layout=Layout.ORIGINAL,
        marks=(has("ip_adapter.0.to_k_ip.weight", {0: 3072}),),
    ),
    Signature(
        kind=Kind.IP_ADAPTER,
        families=("flux1",),
        layout=Layout.X_FLUX,
        marks=(has("double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight"),),
    ),
    Signature(
        kind=Kind.IP_ADAPTER,
        families=("flux1",),
        layout=Layout.ORIGINAL,
        marks=(has("redux_up.weight"), has("redux_down.weight")),
        network="Redux",
    ),
    Signature(kind=Kind.IP_ADAPTER, layout=Layout.ORIGINAL, marks=(has("ip_adapter.1.to_k_ip.weight"),)),
)

_MOTIONS = {
    Layout.ORIGINAL: "motion_modules.0.temporal_transformer.norm.weight",
    Layout.DIFFUSERS: "motion_modules.0.norm.weight",
}
MOTION_MODULES = tuple(
    signature
    for layout, norm in _MOTIONS.items()
    for signature in (
        Signature(
            kind=Kind.MOTION_MODULE,
            families=("sd1",),
            layout=layout,
            marks=(has(f"down_blocks.0.{norm}"), has(f"down_blocks.3.{norm}")),
        ),
        Signature(  # SDXL has a level less
            kind=Kind.MOTION_MODULE,
            families=("sdxl",),
            layout=layout,
            marks=(has(f"down_blocks.0.{norm}"),),
        ),
    )
)

_WRAPPED = ("", "params_ema.", "params.")
UPSCALERS = tuple(
    Signature(kind=Kind.UPSCALER, layout=Layout.ORIGINAL, marks=marks, prefixes=_WRAPPED, network=network)
    for network, marks in (
        ("ESRGAN", (has("conv_first.weight"), has("body.0.rdb1.conv1.weight"))),
        ("ESRGAN", (has("conv_first.weight"), has("RRDB_trunk.0.RDB1.conv1.weight"))),
        ("ESRGAN", (has("model.0.weight"), has("model.1.sub.0.RDB1.conv1.0.weight"))),
        ("HAT", (has("conv_first.weight"), has("layers.0.residual_group.blocks.0.conv_block.cab.0.weight"))),
        ("SwinIR", (has("conv_first.weight"), has("layers.0.residual_group.blocks.0.attn.qkv.weight"))),
        ("DAT", (has("conv_first.weight"), has("layers.0.blocks.0.attn.qkv.weight"))),
        ("Real-ESRGAN compact", (has("body.0.weight", {1: 3}), has("body.1.weight"), has("body.2.weight"))),
    )
)
"""Keys: xinntao/ESRGAN (old and new names), XPixelGroup/HAT and BasicSR, JingyunLiang/SwinIR, zhengchen1999/DAT."""

BESIDE = (*CONTROLNETS, *IP_ADAPTERS, *MOTION_MODULES)
"""Looked for before denoisers, whose keys they share."""
