"""Models of the sizes that people run, built from their published configs with random weights.

Sources: the `config.json` files of `stable-diffusion-v1-5/stable-diffusion-v1-5`,
`stabilityai/stable-diffusion-xl-base-1.0` and `black-forest-labs/FLUX.1-dev`. The denoisers and VAEs are as published;
text encoders keep their widths and are cut to one layer, since they run once and not at every step.
"""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from gesso.primer import weights_folder

_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0), *((chr(c), -8.0) for c in range(0x21, 0x7F))]


@dataclass(frozen=True, kw_only=True)
class Sized:
    """A model: its networks (built where torch's default device says) and what else its pipeline takes."""

    pipeline: type[Any]
    networks: Callable[[], Mapping[str, nn.Module]]
    others: Callable[[], Mapping[str, Any]]


def save(sized: Sized, folder: Path, *, device: str, dtype: torch.dtype = torch.bfloat16) -> Path:
    """Write the model with random weights, drawn on `device`, as a folder."""
    with torch.device("meta"):
        networks = dict(sized.networks())
    for seed, (name, network) in enumerate(networks.items()):
        networks[name] = filled(network, device=device, dtype=dtype, seed=seed)
    pipeline = sized.pipeline(**networks, **sized.others())
    pipeline.save_pretrained(folder, max_shard_size="8GB")
    return folder


def filled(network: nn.Module, *, device: str, dtype: torch.dtype, seed: int) -> nn.Module:
    """A network that was built on `meta`, with weights of unit gain: signals neither die nor explode."""
    whole = network.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(seed)
    for name, parameter in whole.named_parameters():
        if parameter.ndim >= 2:
            parameter.data.normal_(0.0, (parameter.numel() / parameter.shape[0]) ** -0.5, generator=generator)
        else:
            parameter.data.fill_(0.0 if name.endswith("bias") else 1.0)
    for name, buffer in whole.named_buffers():  # `meta` kept none of their values
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.numel(), device=device).reshape(buffer.shape))
    return whole


def _clip_tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(weights_folder() / "tokenizer")


def _clip(width: int, heads: int, **options: Any) -> CLIPTextConfig:
    tokens = CLIPTextConfig.from_pretrained(weights_folder() / "text_encoder")
    return CLIPTextConfig(
        vocab_size=tokens.vocab_size,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=2,  # SDXL reads the last but one
        num_attention_heads=heads,
        projection_dim=width,
        **options,
    )


def _vae(**options: Any) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        **options,
    )


def sd15_unet() -> UNet2DConditionModel:
    """859,520,964 weights."""
    return UNet2DConditionModel(
        sample_size=64, in_channels=4, out_channels=4, cross_attention_dim=768, attention_head_dim=8
    )


def sdxl_unet() -> UNet2DConditionModel:
    """2,567,463,684 weights."""
    return UNet2DConditionModel(
        sample_size=128,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(320, 640, 1280),
        transformer_layers_per_block=[1, 2, 10],
        attention_head_dim=[5, 10, 20],
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def flux_transformer() -> FluxTransformer2DModel:
    """11,901,408,320 weights."""
    return FluxTransformer2DModel(guidance_embeds=True)


def _sd15_networks() -> Mapping[str, nn.Module]:
    return {
        "text_encoder": CLIPTextModel(_clip(768, 12)),
        "unet": sd15_unet(),
        "vae": _vae(latent_channels=4, sample_size=512, scaling_factor=0.18215),
    }


def _sdxl_networks() -> Mapping[str, nn.Module]:
    return {
        "text_encoder": CLIPTextModel(_clip(768, 12)),
        "text_encoder_2": CLIPTextModelWithProjection(_clip(1280, 20, hidden_act="gelu")),
        "unet": sdxl_unet(),
        "vae": _vae(latent_channels=4, sample_size=1024, scaling_factor=0.13025, force_upcast=False),
    }


def _flux_networks() -> Mapping[str, nn.Module]:
    t5 = T5Config(
        vocab_size=len(_PIECES),
        d_model=4096,
        d_kv=64,
        d_ff=1024,
        num_layers=1,
        num_heads=8,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
    )
    return {
        "text_encoder": CLIPTextModel(_clip(768, 12)),
        "text_encoder_2": T5EncoderModel(t5),
        "transformer": flux_transformer(),
        "vae": _vae(
            latent_channels=16,
            sample_size=1024,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
            force_upcast=False,
        ),
    }


SD15 = Sized(
    pipeline=StableDiffusionPipeline,
    networks=_sd15_networks,
    others=lambda: {
        "tokenizer": _clip_tokenizer(),
        "scheduler": DDIMScheduler(**_DIFFUSION, steps_offset=1, set_alpha_to_one=False, clip_sample=False),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    },
)
SDXL = Sized(
    pipeline=StableDiffusionXLPipeline,
    networks=_sdxl_networks,
    others=lambda: {
        "tokenizer": _clip_tokenizer(),
        "tokenizer_2": _clip_tokenizer(),
        "scheduler": EulerDiscreteScheduler(**_DIFFUSION, steps_offset=1, timestep_spacing="leading"),
        "add_watermarker": False,
    },
)
FLUX = Sized(
    pipeline=FluxPipeline,
    networks=_flux_networks,
    others=lambda: {
        "tokenizer": _clip_tokenizer(),
        "tokenizer_2": T5Tokenizer(vocab=_PIECES, extra_ids=0, model_max_length=512),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    },
)
