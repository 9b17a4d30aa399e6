"""Checkpoints and networks with the keys of those who made them, as published: the telling ones and some between."""

from collections.abc import Mapping
from dataclasses import replace

from specimens.base import Shapes, Specimen, specimen
from specimens.networks import CLIP_L, with_prefix


def prefixed(prefix: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


def unet(text_width: int, *, in_channels: int = 4, linear: bool = False) -> Shapes:
    """First level of the UNet of SD 1 or 2."""
    block = "input_blocks.1.1.transformer_blocks.0"
    return {
        "time_embed.0.weight": (1280, 320),
        "input_blocks.0.0.weight": (320, in_channels, 3, 3),
        "input_blocks.1.0.in_layers.0.weight": (320,),
        "input_blocks.1.1.proj_in.weight": (320, 320) if linear else (320, 320, 1, 1),
        f"{block}.attn1.to_k.weight": (320, 320),
        f"{block}.attn2.to_k.weight": (320, text_width),
        f"{block}.attn2.to_v.weight": (320, text_width),
        "middle_block.0.in_layers.0.weight": (1280,),
        "output_blocks.11.0.skip_connection.weight": (320, 640, 1, 1),
        "out.2.weight": (4, 320, 3, 3),
    }


def unet_xl(text_width: int = 2048, *, width: int = 320, labels: int = 2816, in_channels: int = 4) -> Shapes:
    block = "input_blocks.4.1.transformer_blocks.0"
    return {
        "time_embed.0.weight": (4 * width, width),
        "label_emb.0.0.weight": (4 * width, labels),
        "input_blocks.0.0.weight": (width, in_channels, 3, 3),
        f"{block}.attn1.to_k.weight": (2 * width, 2 * width),
        f"{block}.attn2.to_k.weight": (2 * width, text_width),
        "out.2.weight": (4, width, 3, 3),
    }


def vae(channels: int) -> Shapes:
    return {
        "encoder.conv_in.weight": (128, 3, 3, 3),
        "encoder.mid.attn_1.q.weight": (512, 512, 1, 1),
        "decoder.conv_in.weight": (512, channels, 3, 3),
        "decoder.mid.block_1.conv1.weight": (512, 512, 3, 3),
        "decoder.conv_out.weight": (3, 128, 3, 3),
    }


def open_clip(width: int) -> Shapes:
    return {
        "token_embedding.weight": (49408, width),
        "positional_embedding": (77, width),
        "transformer.resblocks.0.attn.in_proj_weight": (3 * width, width),
        "transformer.resblocks.0.mlp.c_fc.weight": (4 * width, width),
    }


def flux(*, guidance: bool, in_channels: int = 64) -> Shapes:
    return {
        "img_in.weight": (3072, in_channels),
        "txt_in.weight": (3072, 4096),
        "time_in.in_layer.weight": (3072, 256),
        "vector_in.in_layer.weight": (3072, 768),
        **({"guidance_in.in_layer.weight": (3072, 256)} if guidance else {}),
        "double_blocks.0.img_mod.lin.weight": (18432, 3072),
        "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
        "double_blocks.0.img_attn.norm.key_norm.scale": (128,),
        "single_blocks.0.linear1.weight": (21504, 3072),
        "final_layer.linear.weight": (64, 3072),
    }


def flux2(width: int, *, guidance: bool) -> Shapes:
    return {
        "img_in.weight": (width, 128),
        **({"guidance_in.in_layer.weight": (width, 256)} if guidance else {}),
        "double_stream_modulation_img.lin.weight": (6 * width, width),
        "single_stream_modulation.lin.weight": (3 * width, width),
        "double_blocks.0.img_attn.qkv.weight": (3 * width, width),
        "single_blocks.0.linear1.weight": (9 * width, width),
    }


def sd3(width: int, *, blocks: int, norm: bool, dual: bool = False, positions: int = 36864) -> Shapes:
    shapes: dict[str, tuple[int, ...]] = {
        "pos_embed": (1, positions, width),
        "x_embedder.proj.weight": (width, 16, 2, 2),
        "context_embedder.weight": (width, 4096),
    }
    for block in (0, blocks - 1):
        shapes |= {
            f"joint_blocks.{block}.context_block.adaLN_modulation.1.bias": (6 * width,),
            f"joint_blocks.{block}.x_block.attn.qkv.weight": (3 * width, width),
            f"joint_blocks.{block}.x_block.mlp.fc1.weight": (4 * width, width),
        }
    if norm:
        shapes["joint_blocks.0.x_block.attn.ln_q.weight"] = (64,)
    if dual:
        shapes["joint_blocks.0.x_block.attn2.qkv.weight"] = (3 * width, width)
    return shapes


def lumina(width: int, *, text: int, padded: bool) -> Shapes:
    """Lumina 2 and Z-Image, which grew out of it."""
    return {
        "cap_embedder.0.weight": (text,),
        "cap_embedder.1.weight": (width, text),
        "noise_refiner.0.attention.qkv.weight": (3 * width, width),
        "context_refiner.0.attention.qkv.weight": (3 * width, width),
        "layers.0.attention.qkv.weight": (3 * width, width),
        "layers.0.adaLN_modulation.0.weight": (4 * width, 256),
        **({"x_pad_token": (1, width), "cap_pad_token": (1, width)} if padded else {}),
    }


_TRUNK = "model.diffusion_model."
_VAE4 = prefixed("first_stage_model.", {**vae(4), "quant_conv.weight": (8, 8, 1, 1)})
SCHEDULE: Mapping[str, tuple[int, ...]] = {"betas": (1000,), "alphas_cumprod": (1000,)}


def _sd1(in_channels: int = 4) -> Shapes:
    text = with_prefix("cond_stage_model.transformer.", CLIP_L)()
    return {**SCHEDULE, **prefixed(_TRUNK, unet(768, in_channels=in_channels)), **_VAE4, **text}


def _sdxl() -> Shapes:
    clip_l = with_prefix("conditioner.embedders.0.transformer.", CLIP_L)()
    clip_g = prefixed("conditioner.embedders.1.model.", open_clip(1280))
    return {**prefixed(_TRUNK, unet_xl()), **_VAE4, **clip_l, **clip_g}


_SD2 = {
    **prefixed(_TRUNK, unet(1024, linear=True)),
    **_VAE4,
    **prefixed("cond_stage_model.model.", open_clip(1024)),
}
_REFINER = {
    **prefixed(_TRUNK, unet_xl(1280, width=384, labels=2560)),
    **_VAE4,
    **prefixed("conditioner.embedders.0.model.", open_clip(1280)),
}
_SD3 = {
    **prefixed(_TRUNK, sd3(1536, blocks=24, norm=False)),
    **prefixed("first_stage_model.", vae(16)),
    "text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096),
}
_SD1_HELD = ["denoiser", "vae", "text encoder (CLIP ViT-L)"]
_FULL = "checkpoint"
_DENOISER = "denoiser"

ORIGINALS: dict[str, Specimen] = {
    "sd1 checkpoint": specimen(_sd1, _FULL, "sd1", holds=_SD1_HELD, layout="original", prediction="epsilon", task=None),
    "sd1 checkpoint, ckpt": replace(specimen(_sd1, _FULL, "sd1", holds=_SD1_HELD, format="pytorch"), form="ckpt"),
    "sd1 inpainting checkpoint": specimen(lambda: _sd1(9), _FULL, "sd1", task="inpainting"),
    "instruct-pix2pix checkpoint": specimen(lambda: _sd1(8), _FULL, "sd1", task="instruct-pix2pix (edits)"),
    "sd1 checkpoint that says v": replace(
        specimen(_sd1, _FULL, "sd1", prediction="v_prediction"), metadata={"modelspec.prediction_type": "v"}
    ),
    "sd2 checkpoint": specimen(_SD2, _FULL, "sd2", prediction="v_prediction", task=None),
    "sd2 checkpoint that says 512": replace(
        specimen(_SD2, _FULL, "sd2", prediction="epsilon"),
        metadata={"modelspec.architecture": "stable-diffusion-v2-512"},
    ),
    "sd2 base checkpoint, ckpt": replace(specimen(_SD2, _FULL, "sd2", prediction="epsilon"), form="ckpt"),
    "sd2 depth unet": specimen(
        prefixed(_TRUNK, unet(1024, in_channels=5)), _DENOISER, "sd2", task="depth to image", prediction="epsilon"
    ),
    "svd": specimen(
        {
            **prefixed(_TRUNK, unet(1024, in_channels=8)),
            f"{_TRUNK}input_blocks.1.1.time_stack.0.attn1.to_q.weight": (320, 320),
        },
        _DENOISER,
        "svd",
        notes=["it makes videos"],
    ),
    "sdxl checkpoint": specimen(
        _sdxl,
        _FULL,
        "sdxl",
        holds=["denoiser", "vae", "text encoder (CLIP ViT-L)", "text encoder (OpenCLIP ViT-bigG)"],
        prediction="epsilon",
    ),
    "sdxl checkpoint of v-prediction": specimen(
        lambda: {**_sdxl(), "v_pred": (), "ztsnr": ()}, _FULL, "sdxl", prediction="v_prediction"
    ),
    "playground 2.5 checkpoint": specimen(
        lambda: {**_sdxl(), "edm_mean": (1, 4, 1, 1)}, _FULL, "sdxl", prediction="edm"
    ),
    "sdxl refiner checkpoint": specimen(_REFINER, _FULL, "sdxl-refiner"),
    "kolors unet, original": specimen(prefixed(_TRUNK, unet_xl(labels=5632)), _DENOISER, "kolors"),
    "sd3 checkpoint": specimen(
        _SD3, _FULL, "sd3", variant="3 medium", holds=["denoiser", "vae", "text encoder (T5-XXL)"], prediction="flow"
    ),
    "sd3.5 medium": specimen(
        prefixed(_TRUNK, sd3(1536, blocks=24, norm=True, dual=True, positions=147456)),
        _DENOISER,
        "sd3",
        variant="3.5 medium",
    ),
    "sd3.5 large": specimen(sd3(2432, blocks=38, norm=True), _DENOISER, "sd3", variant="3.5 large"),
    "flux.1 dev": specimen(flux(guidance=True), _DENOISER, "flux1", variant="dev", layout="original", task=None),
    "flux.1 dev, gguf": replace(
        specimen(flux(guidance=True), _DENOISER, "flux1", variant="dev", format="gguf"),
        form="gguf",
        metadata={"general.architecture": "flux"},
    ),
    "flux.1 schnell": specimen(flux(guidance=False), _DENOISER, "flux1", variant="schnell"),
    "flux.1 fill": specimen(flux(guidance=True, in_channels=384), _DENOISER, "flux1", task="inpainting (fill)"),
    "flux.1 canny": specimen(
        flux(guidance=True, in_channels=128), _DENOISER, "flux1", task="follows a control picture (canny or depth)"
    ),
    "flux.2 dev": specimen(flux2(6144, guidance=True), _DENOISER, "flux2", variant="dev", prediction="flow"),
    "flux.2 klein": specimen(flux2(3072, guidance=False), _DENOISER, "flux2-klein"),
    "chroma": specimen(
        {
            "distilled_guidance_layer.in_proj.weight": (5120, 64),
            "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
            "single_blocks.0.linear1.weight": (21504, 3072),
        },
        _DENOISER,
        "chroma",
    ),
    "z-image": specimen(prefixed(_TRUNK, lumina(3840, text=2560, padded=True)), _DENOISER, "z-image"),
    "lumina 2": specimen(lumina(2304, text=2304, padded=False), _DENOISER, "lumina2"),
    "auraflow": specimen(
        prefixed("model.", {"double_layers.0.attn.w1q.weight": (3072, 3072), "cond_seq_linear.weight": (3072, 2048)}),
        _DENOISER,
        "auraflow",
    ),
    "pixart": specimen(
        {
            "blocks.0.cross_attn.q_linear.weight": (1152, 1152),
            "blocks.0.cross_attn.kv_linear.weight": (2304, 1152),
            "t_block.1.weight": (6912, 1152),
            "y_embedder.y_proj.fc1.weight": (1152, 4096),
        },
        _DENOISER,
        "pixart",
    ),
    "sana": specimen(
        {
            "attention_y_norm.weight": (2240,),
            "blocks.0.cross_attn.kv_linear.weight": (4480, 2240),
            "blocks.0.mlp.inverted_conv.conv.weight": (11200, 2240, 1, 1),
            "t_block.1.weight": (13440, 2240),
        },
        _DENOISER,
        "sana",
    ),
    "hunyuan-dit": specimen(
        {
            "text_embedding_padding": (333, 1024),
            "mlp_t5.0.weight": (8192, 2048),
            "blocks.0.attn1.Wqkv.weight": (4224, 1408),
        },
        _DENOISER,
        "hunyuan-dit",
        prediction="v_prediction",
    ),
    "hidream": specimen({"double_stream_blocks.0.block.adaLN_modulation.1.bias": (30720,)}, _DENOISER, "hidream"),
    "wan": specimen({"head.modulation": (1, 2, 1536), "blocks.0.self_attn.q.weight": (1536, 1536)}, _DENOISER, "wan"),
    "hunyuan-video": specimen(
        {
            **flux(guidance=True),
            "txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias": (6144,),
        },
        _DENOISER,
        "hunyuan-video",
    ),
    "a unet of no known family": specimen(unet(512), _DENOISER, None, prediction=None),
    "vae of 4 channels": specimen(vae(4), "vae", None, families=["sd1", "sd2", "sdxl"], layout="original"),
    "vae of 16 channels": specimen(vae(16), "vae", None, families=["sd3", "flux1", "z-image", "chroma", "lumina2"]),
    "vae of flux.2": specimen(vae(32), "vae", None, families=["flux2", "flux2-klein"]),
    "vae of wan": specimen(
        {"decoder.middle.0.residual.0.gamma": (384, 1, 1, 1)}, "vae", None, families=["qwen-image", "wan"]
    ),
    "open_clip of sd2": specimen(open_clip(1024), "text encoder", "sd2", network="OpenCLIP ViT-H"),
    "t5, gguf": replace(
        specimen({"enc.blk.0.attn_q.weight": (4096, 4096), "token_embd.weight": (32128, 4096)}, "text encoder", None),
        form="gguf",
        metadata={"general.architecture": "t5encoder"},
    ),
    "qwen2.5-vl": specimen(
        {
            "model.embed_tokens.weight": (152064, 3584),
            "model.layers.0.self_attn.q_proj.weight": (3584, 3584),
            "model.layers.0.self_attn.q_proj.bias": (3584,),
            "visual.blocks.0.attn.qkv.weight": (3840, 1280),
        },
        "text encoder",
        "qwen-image",
        network="Qwen2.5-VL",
    ),
}
