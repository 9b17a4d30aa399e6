"""Transformers that denoise, by their signatures. The more special ones come first.

Original keys are those of the repositories of the makers (Stability-AI/sd3.5, black-forest-labs/flux and flux2,
lodestone-rock/flow, Alpha-VLLM/Lumina-Image-2.0, Tongyi-MAI/Z-Image, cloneofsimo/minRF, PixArt-alpha, NVlabs/Sana,
Tencent/HunyuanDiT, Wan-Video, Lightricks/LTX-Video), the others those of the classes in diffusers.
"""

from collections.abc import Mapping

from gesso.models.recognition.kinds import Kind, Layout
from gesso.models.recognition.marks import Mark, Signature, has

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.", "model.", "net.", "")
_VIDEO = "it makes videos"
_FLUX_TASKS = {384: "inpainting (fill)", 128: "follows a control picture (canny or depth)"}
_ORIGINAL, _DIFFUSERS = Layout.ORIGINAL, Layout.DIFFUSERS


def _transformer(
    family: str,
    layout: Layout,
    *marks: Mark | str,
    variant: str | None = None,
    absent: tuple[str, ...] = (),
    note: str | None = None,
    tasks: tuple[str, Mapping[int, str]] | None = None,
) -> Signature:
    """Args:
    tasks: the tensor whose second size is the number of input channels, and what they tell.
    """
    return Signature(
        kind=Kind.DENOISER,
        families=(family,),
        layout=layout,
        marks=tuple(has(mark) if isinstance(mark, str) else mark for mark in marks),
        absent=absent,
        prefixes=PREFIXES,
        variant=variant,
        note=note,
        input_key=tasks[0] if tasks else None,
        tasks=tasks[1] if tasks else {},
    )


_SD3_BLOCK = "joint_blocks.0.context_block.adaLN_modulation.1.bias"
_SD3_NORM = "joint_blocks.0.x_block.attn.ln_q.weight"
_SD3_BLOCK_DIFFUSERS = ("transformer_blocks.0.attn.add_k_proj.weight", "pos_embed.pos_embed", "context_embedder.weight")
_SD3_NORM_DIFFUSERS = "transformer_blocks.0.attn.norm_q.weight"
SD3 = (
    _transformer("sd3", _ORIGINAL, _SD3_BLOCK, "joint_blocks.0.x_block.attn2.qkv.weight", variant="3.5 medium"),
    _transformer(
        "sd3", _ORIGINAL, _SD3_BLOCK, _SD3_NORM, "joint_blocks.37.x_block.mlp.fc1.weight", variant="3.5 large"
    ),
    _transformer("sd3", _ORIGINAL, _SD3_BLOCK, _SD3_NORM, variant="3.5"),
    _transformer("sd3", _ORIGINAL, has(_SD3_BLOCK, {0: 9216}), variant="3 medium"),
    _transformer("sd3", _ORIGINAL, _SD3_BLOCK),
    _transformer(
        "sd3", _DIFFUSERS, *_SD3_BLOCK_DIFFUSERS, "transformer_blocks.0.attn2.to_q.weight", variant="3.5 medium"
    ),
    _transformer(
        "sd3",
        _DIFFUSERS,
        *_SD3_BLOCK_DIFFUSERS,
        _SD3_NORM_DIFFUSERS,
        "transformer_blocks.37.attn.to_q.weight",
        variant="3.5 large",
    ),
    _transformer("sd3", _DIFFUSERS, *_SD3_BLOCK_DIFFUSERS, _SD3_NORM_DIFFUSERS, variant="3.5"),
    _transformer(
        "sd3",
        _DIFFUSERS,
        *_SD3_BLOCK_DIFFUSERS[:2],
        has("context_embedder.weight", {0: 1536}),
        absent=(_SD3_NORM_DIFFUSERS,),
        variant="3 medium",
    ),
    _transformer("sd3", _DIFFUSERS, *_SD3_BLOCK_DIFFUSERS),
)

_FLUX_BLOCK = "double_blocks.0.img_attn.qkv.weight"
_FLUX_BLOCK_DIFFUSERS = ("transformer_blocks.0.attn.add_k_proj.weight", "single_transformer_blocks.0.proj_mlp.weight")
_KONTEXT = "Kontext, Krea and others have the structure of dev"
FLUX = (
    _transformer(
        "flux2", _ORIGINAL, "single_stream_modulation.lin.weight", "guidance_in.in_layer.weight", variant="dev"
    ),
    _transformer("flux2-klein", _ORIGINAL, "single_stream_modulation.lin.weight", _FLUX_BLOCK),
    _transformer(
        "flux2",
        _DIFFUSERS,
        "single_stream_modulation.linear.weight",
        "time_guidance_embed.guidance_embedder.linear_1.weight",
        variant="dev",
    ),
    _transformer("flux2-klein", _DIFFUSERS, "single_stream_modulation.linear.weight", "x_embedder.weight"),
    _transformer("chroma", _ORIGINAL, "distilled_guidance_layer.in_proj.weight", _FLUX_BLOCK),
    _transformer("chroma", _DIFFUSERS, "distilled_guidance_layer.in_proj.weight", *_FLUX_BLOCK_DIFFUSERS),
    _transformer(
        "hunyuan-video", _ORIGINAL, "txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias", note=_VIDEO
    ),
    _transformer(
        "flux1",
        _ORIGINAL,
        _FLUX_BLOCK,
        "vector_in.in_layer.weight",
        "guidance_in.in_layer.weight",
        variant="dev",
        note=_KONTEXT,
        tasks=("img_in.weight", _FLUX_TASKS),
    ),
    _transformer("flux1", _ORIGINAL, _FLUX_BLOCK, "vector_in.in_layer.weight", variant="schnell"),
    _transformer(
        "flux1",
        _DIFFUSERS,
        *_FLUX_BLOCK_DIFFUSERS,
        "time_text_embed.guidance_embedder.linear_1.weight",
        variant="dev",
        note=_KONTEXT,
        tasks=("x_embedder.weight", _FLUX_TASKS),
    ),
    _transformer("flux1", _DIFFUSERS, *_FLUX_BLOCK_DIFFUSERS, variant="schnell"),
)

OTHERS = (
    _transformer("z-image", _ORIGINAL, "cap_pad_token", "layers.0.attention.qkv.weight"),
    _transformer("z-image", _DIFFUSERS, "cap_pad_token", "layers.0.attention.to_q.weight"),
    _transformer("lumina2", _ORIGINAL, "cap_embedder.1.weight", "noise_refiner.0.attention.qkv.weight"),
    _transformer(
        "lumina2", _DIFFUSERS, "time_caption_embed.caption_embedder.0.weight", "noise_refiner.0.attn.to_q.weight"
    ),
    _transformer(
        "qwen-image",
        _DIFFUSERS,  # its makers published no other
        "transformer_blocks.0.img_mod.1.weight",
        "txt_norm.weight",
        note="Qwen-Image-Edit has the same structure",
    ),
    _transformer("auraflow", _ORIGINAL, "double_layers.0.attn.w1q.weight", "cond_seq_linear.weight"),
    _transformer("auraflow", _DIFFUSERS, "joint_transformer_blocks.0.attn.to_q.weight", "register_tokens"),
    _transformer("sana", _ORIGINAL, "attention_y_norm.weight", "blocks.0.mlp.inverted_conv.conv.weight"),
    _transformer("sana", _DIFFUSERS, "caption_norm.weight", "transformer_blocks.0.ff.conv_inverted.weight"),
    _transformer("pixart", _ORIGINAL, "blocks.0.cross_attn.kv_linear.weight", "t_block.1.weight"),
    _transformer(
        "pixart",
        _DIFFUSERS,
        "adaln_single.linear.weight",
        "pos_embed.proj.weight",
        "transformer_blocks.0.attn2.to_k.weight",
    ),
    _transformer("hunyuan-dit", _ORIGINAL, "text_embedding_padding", "mlp_t5.0.weight"),
    _transformer("hunyuan-dit", _DIFFUSERS, "text_embedding_padding", "text_embedder.linear_1.weight"),
    _transformer("hidream", _ORIGINAL, "double_stream_blocks.0.block.adaLN_modulation.1.bias"),
    _transformer("wan", _ORIGINAL, "head.modulation", "blocks.0.self_attn.q.weight", note=_VIDEO),
    _transformer("wan", _DIFFUSERS, "condition_embedder.time_proj.weight", "blocks.0.attn1.to_q.weight", note=_VIDEO),
    _transformer("ltx-video", _ORIGINAL, "patchify_proj.weight", "adaln_single.linear.weight", note=_VIDEO),
    _transformer(
        "ltx-video",
        _DIFFUSERS,
        "proj_in.weight",
        "time_embed.linear.weight",
        "transformer_blocks.0.attn1.to_q.weight",
        note=_VIDEO,
    ),
    _transformer("mochi", _ORIGINAL, "blocks.0.attn.qkv_x.weight", note=_VIDEO),
    _transformer("stable-cascade", _ORIGINAL, "clip_txt_mapper.weight", variant="stage C"),
    _transformer("stable-cascade", _ORIGINAL, "down_blocks.1.0.channelwise.0.weight", variant="stage B"),
)

TRANSFORMERS = (*FLUX, *SD3, *OTHERS)
