"""Networks in the layouts of diffusers and transformers: keys and shapes of the classes themselves, on no device.

Widths are those of the published networks, depths are cut where they decide nothing.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from specimens.base import Shapes, Specimen, specimen


def shapes_of(make: Callable[[], nn.Module]) -> Shapes:
    """Keys and shapes of a network that is never given memory."""
    with torch.device("meta"):
        network = make()
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _diffusers(class_name: str, **config: Any) -> Callable[[], Shapes]:
    @cache
    def shapes() -> Shapes:
        import diffusers

        return shapes_of(partial(getattr(diffusers, class_name), **config))

    return shapes


def _transformers(class_name: str, config_name: str, **config: Any) -> Callable[[], Shapes]:
    @cache
    def shapes() -> Shapes:
        import transformers

        return shapes_of(lambda: getattr(transformers, class_name)(getattr(transformers, config_name)(**config)))

    return shapes


def with_prefix(prefix: str, shapes: Callable[[], Shapes]) -> Callable[[], Shapes]:
    return lambda: {f"{prefix}{name}": shape for name, shape in shapes().items()}


SD = {"block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 1}
SDXL: Mapping[str, Any] = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "transformer_layers_per_block": (1, 2, 2),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_REFINER = {
    **SDXL,
    "block_out_channels": (384, 768, 1536, 1536),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": 1,
    "cross_attention_dim": 1280,
    "projection_class_embeddings_input_dim": 2560,
}
_SDXL_CONTROLNET = {key: value for key, value in SDXL.items() if key != "up_block_types"}
_KOLORS = {
    **SDXL,
    "encoder_hid_dim": 4096,
    "encoder_hid_dim_type": "text_proj",
    "projection_class_embeddings_input_dim": 5632,
}
unet, flux, sd3 = (
    partial(_diffusers, name) for name in ("UNet2DConditionModel", "FluxTransformer2DModel", "SD3Transformer2DModel")
)
_FLUX = {"num_layers": 1, "num_single_layers": 1}
_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
vae = partial(_diffusers, "AutoencoderKL", **_VAE)

CLIP_L = _transformers("CLIPTextModel", "CLIPTextConfig", hidden_size=768, num_attention_heads=12, num_hidden_layers=2)
_CLIP_G = _transformers(
    "CLIPTextModelWithProjection", "CLIPTextConfig", hidden_size=1280, num_attention_heads=20, num_hidden_layers=2
)
_T5 = {"d_model": 4096, "d_kv": 64, "num_heads": 64, "d_ff": 10240, "num_layers": 2, "feed_forward_proj": "gated-gelu"}

NETWORKS: dict[str, Specimen] = {
    "sd1 unet, diffusers": specimen(
        unet(**SD, cross_attention_dim=768), "denoiser", "sd1", layout="diffusers", prediction="epsilon", task=None
    ),
    "sd1 unet, inpainting": specimen(
        unet(**SD, cross_attention_dim=768, in_channels=9), "denoiser", "sd1", task="inpainting"
    ),
    "sd1 unet, instruct-pix2pix": specimen(
        unet(**SD, cross_attention_dim=768, in_channels=8), "denoiser", "sd1", task="instruct-pix2pix (edits)"
    ),
    "sd2 unet, diffusers": specimen(
        unet(**SD, cross_attention_dim=1024, use_linear_projection=True), "denoiser", "sd2", prediction="v_prediction"
    ),
    "sdxl unet, diffusers": specimen(unet(**SDXL), "denoiser", "sdxl", prediction="epsilon"),
    "sdxl refiner unet": specimen(unet(**_REFINER), "denoiser", "sdxl-refiner"),
    "kolors unet": specimen(unet(**_KOLORS), "denoiser", "kolors"),
    "sd3 medium, diffusers": specimen(
        sd3(num_layers=2, num_attention_heads=24, caption_projection_dim=1536, pos_embed_max_size=192),
        "denoiser",
        "sd3",
        variant="3 medium",
        prediction="flow",
    ),
    "sd3.5 medium, diffusers": specimen(
        sd3(
            num_layers=2,
            num_attention_heads=24,
            caption_projection_dim=1536,
            qk_norm="rms_norm",
            dual_attention_layers=(0,),
        ),
        "denoiser",
        "sd3",
        variant="3.5 medium",
    ),
    "sd3.5 large, diffusers": specimen(
        sd3(num_layers=38, num_attention_heads=38, caption_projection_dim=2432, qk_norm="rms_norm"),
        "denoiser",
        "sd3",
        variant="3.5 large",
    ),
    "flux.1 dev, diffusers": specimen(
        flux(**_FLUX, guidance_embeds=True), "denoiser", "flux1", variant="dev", task=None
    ),
    "flux.1 schnell, diffusers": specimen(flux(**_FLUX), "denoiser", "flux1", variant="schnell"),
    "flux.1 fill, diffusers": specimen(
        flux(**_FLUX, guidance_embeds=True, in_channels=384, out_channels=64),
        "denoiser",
        "flux1",
        task="inpainting (fill)",
    ),
    "flux.2 dev, diffusers": specimen(
        _diffusers("Flux2Transformer2DModel", **_FLUX), "denoiser", "flux2", variant="dev"
    ),
    "flux.2 klein, diffusers": specimen(
        _diffusers("Flux2Transformer2DModel", **_FLUX, num_attention_heads=24, guidance_embeds=False),
        "denoiser",
        "flux2-klein",
    ),
    "chroma, diffusers": specimen(
        _diffusers("ChromaTransformer2DModel", **_FLUX, approximator_layers=1), "denoiser", "chroma"
    ),
    "z-image, diffusers": specimen(
        _diffusers("ZImageTransformer2DModel", n_layers=1, n_refiner_layers=1), "denoiser", "z-image", prediction="flow"
    ),
    "qwen-image, diffusers": specimen(
        _diffusers("QwenImageTransformer2DModel", num_layers=1), "denoiser", "qwen-image"
    ),
    "lumina 2, diffusers": specimen(
        _diffusers("Lumina2Transformer2DModel", num_layers=1, num_refiner_layers=1), "denoiser", "lumina2"
    ),
    "auraflow, diffusers": specimen(
        _diffusers("AuraFlowTransformer2DModel", num_mmdit_layers=1, num_single_dit_layers=1), "denoiser", "auraflow"
    ),
    "pixart, diffusers": specimen(
        _diffusers("PixArtTransformer2DModel", num_layers=1), "denoiser", "pixart", prediction="epsilon"
    ),
    "sana, diffusers": specimen(_diffusers("SanaTransformer2DModel", num_layers=1), "denoiser", "sana"),
    "hunyuan-dit, diffusers": specimen(
        _diffusers("HunyuanDiT2DModel", num_layers=2, patch_size=2, sample_size=128, in_channels=4),
        "denoiser",
        "hunyuan-dit",
    ),
    "wan, diffusers": specimen(_diffusers("WanTransformer3DModel", num_layers=1), "denoiser", "wan"),
    "ltx-video, diffusers": specimen(_diffusers("LTXVideoTransformer3DModel", num_layers=1), "denoiser", "ltx-video"),
    "vae of 4 channels, diffusers": specimen(vae(latent_channels=4), "vae", None, families=["sd1", "sd2", "sdxl"]),
    "vae of 16 channels, diffusers": specimen(
        vae(latent_channels=16, use_quant_conv=False, use_post_quant_conv=False),
        "vae",
        None,
        families=["sd3", "flux1", "z-image", "chroma", "lumina2"],
    ),
    "flux.2 vae, diffusers": specimen(_diffusers("AutoencoderKLFlux2"), "vae", None, families=["flux2", "flux2-klein"]),
    "qwen-image vae, diffusers": specimen(
        _diffusers("AutoencoderKLQwenImage"), "vae", None, families=["qwen-image", "wan"]
    ),
    "taesd, diffusers": specimen(_diffusers("AutoencoderTiny"), "tiny vae", None, families=["sd1", "sd2", "sdxl"]),
    "controlnet of sd1, diffusers": specimen(
        _diffusers("ControlNetModel", **SD, cross_attention_dim=768), "controlnet", "sd1"
    ),
    "controlnet of sdxl, diffusers": specimen(_diffusers("ControlNetModel", **_SDXL_CONTROLNET), "controlnet", "sdxl"),
    "controlnet union of sdxl": specimen(
        _diffusers("ControlNetUnionModel", **_SDXL_CONTROLNET), "controlnet", "sdxl", network="union of several"
    ),
    "controlnet of sd3, diffusers": specimen(
        _diffusers("SD3ControlNetModel", num_layers=1, num_attention_heads=24, caption_projection_dim=1536),
        "controlnet",
        "sd3",
    ),
    "controlnet of flux.1, diffusers": specimen(_diffusers("FluxControlNetModel", **_FLUX), "controlnet", "flux1"),
    "controlnet of qwen-image, diffusers": specimen(
        _diffusers("QwenImageControlNetModel", num_layers=1), "controlnet", "qwen-image"
    ),
    "t2i-adapter of sd1, diffusers": specimen(_diffusers("T2IAdapter", in_channels=3), "t2i-adapter", "sd1"),
    "t2i-adapter of sdxl, diffusers": specimen(
        _diffusers("T2IAdapter", in_channels=3, downscale_factor=16, adapter_type="full_adapter_xl"),
        "t2i-adapter",
        "sdxl",
    ),
    "animatediff, diffusers": specimen(_diffusers("MotionAdapter", motion_layers_per_block=1), "motion module", "sd1"),
    "clip-l": specimen(CLIP_L, "text encoder", None, network="CLIP ViT-L"),
    "clip-g": specimen(_CLIP_G, "text encoder", None, network="OpenCLIP ViT-bigG"),
    "t5-xxl": specimen(
        _transformers("T5EncoderModel", "T5Config", **_T5, vocab_size=32128), "text encoder", None, network="T5-XXL"
    ),
    "umt5": specimen(
        _transformers("UMT5EncoderModel", "UMT5Config", **_T5, vocab_size=256384), "text encoder", "wan", network="UMT5"
    ),
    "qwen3": specimen(
        _transformers("Qwen3ForCausalLM", "Qwen3Config", hidden_size=2560, num_hidden_layers=1),
        "text encoder",
        None,
        network="Qwen3",
    ),
    "gemma 2": specimen(
        with_prefix("model.", _transformers("Gemma2Model", "Gemma2Config", hidden_size=2304, num_hidden_layers=1)),
        "text encoder",
        None,
        network="Gemma",
    ),
    "clip vision": specimen(
        _transformers(
            "CLIPVisionModelWithProjection",
            "CLIPVisionConfig",
            hidden_size=1280,
            num_attention_heads=16,
            num_hidden_layers=1,
        ),
        "image encoder",
        None,
        network="OpenCLIP ViT-H",
    ),
}
