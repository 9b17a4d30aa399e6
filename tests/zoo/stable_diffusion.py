"""Stable Diffusion 1 to 3 and its consistency model."""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    SD3Transformer2DModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextModel, CLIPTextModelWithProjection

from zoo.networks import clip_config, stir, t5, unet, vae
from zoo.tokenizers import clip_tokenizer, t5_tokenizer

DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def sd1() -> dict[str, Any]:
    return {
        "tokenizer": clip_tokenizer(),
        "text_encoder": CLIPTextModel(clip_config(32, 3)),
        "unet": unet(cross_attention=32),
        "vae": vae(channels=4, scale=0.18215),
        "scheduler": PNDMScheduler(**DIFFUSION, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def sd2() -> dict[str, Any]:
    # Real SD 2 has a width of 1024 throughout; here the UNet says so and projects the thin embeddings up to it.
    widened = {"encoder_hid_dim": 32, "encoder_hid_dim_type": "text_proj", "use_linear_projection": True}
    return sd1() | {
        "tokenizer": clip_tokenizer(pad_token="!"),
        "text_encoder": CLIPTextModel(clip_config(32, 3, hidden_act="gelu")),
        "unet": unet(cross_attention=1024, **widened),
        "scheduler": DDIMScheduler(
            **DIFFUSION,
            prediction_type="v_prediction",
            steps_offset=1,
            set_alpha_to_one=False,
            clip_sample=False,
        ),
    }


def sdxl() -> dict[str, Any]:
    return {
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": clip_tokenizer(pad_token="!"),
        "text_encoder": CLIPTextModel(clip_config(16, 3)),
        "text_encoder_2": CLIPTextModelWithProjection(clip_config(24, 4, hidden_act="gelu")),
        "unet": unet(
            cross_attention=16 + 24,
            use_linear_projection=True,
            transformer_layers_per_block=(1, 2),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24 + 6 * 8,
        ),
        "vae": vae(channels=4, scale=0.13025),
        "scheduler": EulerDiscreteScheduler(**DIFFUSION, steps_offset=1, timestep_spacing="leading"),
        "force_zeros_for_empty_prompt": True,
        "add_watermarker": False,
    }


def sdxl_refiner() -> dict[str, Any]:
    whole = sdxl()
    parts = {name: whole[name] for name in ("tokenizer_2", "text_encoder_2", "vae", "scheduler", "add_watermarker")}
    return parts | {
        "tokenizer": None,
        "text_encoder": None,
        "unet": unet(
            cross_attention=24,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24 + 5 * 8,
        ),
        "requires_aesthetics_score": True,
        "force_zeros_for_empty_prompt": False,
    }


def sd3() -> dict[str, Any]:
    return {
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": clip_tokenizer(pad_token="!"),
        "tokenizer_3": t5_tokenizer(),
        "text_encoder": CLIPTextModelWithProjection(clip_config(16, 3)),
        "text_encoder_2": CLIPTextModelWithProjection(clip_config(24, 4, hidden_act="gelu")),
        "text_encoder_3": t5(48),  # wider than both CLIPs together, as in the release
        "transformer": SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=16,
            out_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=48,
            caption_projection_dim=32,
            pooled_projection_dim=16 + 24,
            pos_embed_max_size=24,
        ),
        "vae": vae(channels=16, scale=1.5305, shift=0.0609, quant_conv=False),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


def lcm() -> dict[str, Any]:
    return sd1() | {
        "unet": unet(cross_attention=32, time_cond_proj_dim=16),  # guidance is an input of the network
        "scheduler": LCMScheduler(**DIFFUSION, clip_sample=False, set_alpha_to_one=True),
    }


def safety_checker(*, flags: bool = True, seed: int = 0) -> dict[str, Any]:
    """Components for `build("sd1", **safety_checker())`: a checker that calls every picture unsafe, or none."""
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 16, "projection_dim": 16}
    with torch.random.fork_rng(devices=[]):
        checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    stir(checker, seed)
    checker.concept_embeds_weights.data.fill_(-2.0 if flags else 2.0)  # thresholds of a cosine
    checker.special_care_embeds_weights.data.fill_(2.0)
    size = {"shortest_edge": 32}
    extractor = CLIPImageProcessor(size=size, crop_size={"height": 32, "width": 32})
    return {"safety_checker": checker, "feature_extractor": extractor, "requires_safety_checker": True}
