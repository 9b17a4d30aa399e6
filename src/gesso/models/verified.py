"""The pipeline classes of diffusers that are tried: what each is made of, and what must be known to run it.

A class that is not here runs as its folder says. What is here is kept true by tests, which make a thin pipeline of
each. Class names are strings, so that importing this imports nothing heavy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class Guidance(StrEnum):
    """How the prompt is followed more closely than the network would by itself."""

    SECOND_PASS = "second pass"
    """Classifier-free: a second row, or a second call, without the prompt (Ho & Salimans 2022, arXiv 2207.12598)."""
    INPUT = "input of the network"
    """Distilled: the scale is a number that the network reads."""
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class VerifiedPipeline:
    """One class, tried with thin random weights on the CPU."""

    title: str
    pipeline: str
    """Class name in diffusers."""
    networks: Mapping[str, str]
    """Class names by the network's name in the pipeline."""
    alone: frozenset[str] = frozenset()
    """Networks that run alone here, although others of their class may share forwards."""
    size_multiple_px: int
    """With the autoencoder of the release."""
    guidance: Guidance = Guidance.SECOND_PASS
    negative_prompt: bool = True
    family: str | None = None
    """Name of the first-class family, whose prompts the engine reads; `None`: the pipeline reads them itself."""
    rounds_up_to_px: int = 1
    """Multiples to which the pipeline itself rounds the sides up, beyond what its networks need."""
    default_size_px: int | None = None
    """Side of the picture that the pipeline itself makes, where its configs name another."""
    most_prompt_tokens: int | None = None
    """Tokens of a prompt that fit, where neither the tokenizer nor an argument of the pipeline says."""
    given: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments without which the pipeline would make something else than was asked."""
    given_at_other_steps: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The same, where another number of steps is asked than the pipeline makes by itself."""

    def arguments(self, *, usual_steps: bool) -> Mapping[str, Any]:
        return self.given if usual_steps else {**self.given, **self.given_at_other_steps}


_CLIP, _CLIP_PROJECTED, _T5 = "CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel"
_KL = "AutoencoderKL"

_NOT_CLEANED: Mapping[str, Any] = {"clean_caption": False}
"""Else the prompt would be cleaned or not by whether Beautiful Soup is installed."""

_RECORDS = (
    VerifiedPipeline(
        title="Stable Diffusion 1.x, 2.x",
        pipeline="StableDiffusionPipeline",
        family="sd1",
        networks={"text_encoder": _CLIP, "unet": "UNet2DConditionModel", "vae": _KL},
        size_multiple_px=8,
    ),
    VerifiedPipeline(
        title="Stable Diffusion XL",
        pipeline="StableDiffusionXLPipeline",
        family="sdxl",
        networks={
            "text_encoder": _CLIP,
            "text_encoder_2": _CLIP_PROJECTED,
            "unet": "UNet2DConditionModel",
            "vae": _KL,
        },
        size_multiple_px=8,
    ),
    VerifiedPipeline(
        title="Stable Diffusion 3, 3.5",
        pipeline="StableDiffusion3Pipeline",
        family="sd3",
        networks={
            "text_encoder": _CLIP_PROJECTED,
            "text_encoder_2": _CLIP_PROJECTED,
            "text_encoder_3": _T5,
            "transformer": "SD3Transformer2DModel",
            "vae": _KL,
        },
        size_multiple_px=16,
    ),
    VerifiedPipeline(
        title="Flux.1 dev, schnell",
        pipeline="FluxPipeline",
        family="flux1",
        networks={
            "text_encoder": _CLIP,
            "text_encoder_2": _T5,
            "transformer": "FluxTransformer2DModel",
            "vae": _KL,
        },
        size_multiple_px=16,
        guidance=Guidance.INPUT,
        negative_prompt=False,
    ),
    VerifiedPipeline(
        title="Z-Image, Z-Image Turbo",
        pipeline="ZImagePipeline",
        family="z-image",
        networks={"text_encoder": "Qwen3Model", "transformer": "ZImageTransformer2DModel", "vae": _KL},
        size_multiple_px=16,
    ),
    VerifiedPipeline(
        title="Flux.2 dev",
        pipeline="Flux2Pipeline",
        family="flux2",
        networks={
            "text_encoder": "Mistral3ForConditionalGeneration",
            "transformer": "Flux2Transformer2DModel",
            "vae": "AutoencoderKLFlux2",
        },
        size_multiple_px=16,
        guidance=Guidance.INPUT,
        negative_prompt=False,
    ),
    VerifiedPipeline(
        title="Flux.2 klein, klein base",
        pipeline="Flux2KleinPipeline",
        family="flux2-klein",
        networks={
            "text_encoder": "Qwen3ForCausalLM",
            "transformer": "Flux2Transformer2DModel",
            "vae": "AutoencoderKLFlux2",
        },
        size_multiple_px=16,
    ),
    VerifiedPipeline(
        title="Qwen-Image",
        pipeline="QwenImagePipeline",
        family="qwen-image",
        networks={
            "text_encoder": "Qwen2_5_VLForConditionalGeneration",
            "transformer": "QwenImageTransformer2DModel",
            "vae": "AutoencoderKLQwenImage",
        },
        size_multiple_px=16,
    ),
    VerifiedPipeline(
        title="Latent Consistency Model",
        pipeline="LatentConsistencyModelPipeline",
        networks={"text_encoder": _CLIP, "unet": "UNet2DConditionModel", "vae": _KL},
        size_multiple_px=8,
        guidance=Guidance.INPUT,
        negative_prompt=False,
    ),
    VerifiedPipeline(
        title="PixArt-Alpha",
        pipeline="PixArtAlphaPipeline",
        networks={"text_encoder": _T5, "transformer": "PixArtTransformer2DModel", "vae": _KL},
        size_multiple_px=16,
        given=_NOT_CLEANED,
    ),
    VerifiedPipeline(
        title="PixArt-Sigma",
        pipeline="PixArtSigmaPipeline",
        networks={"text_encoder": _T5, "transformer": "PixArtTransformer2DModel", "vae": _KL},
        size_multiple_px=16,
        given=_NOT_CLEANED,
    ),
    VerifiedPipeline(
        title="Chroma",
        pipeline="ChromaPipeline",
        networks={"text_encoder": _T5, "transformer": "ChromaTransformer2DModel", "vae": _KL},
        size_multiple_px=16,
    ),
    VerifiedPipeline(
        title="Sana",
        pipeline="SanaPipeline",
        networks={"text_encoder": "Gemma2Model", "transformer": "SanaTransformer2DModel", "vae": "AutoencoderDC"},
        size_multiple_px=32,
    ),
    VerifiedPipeline(
        title="Sana Sprint",
        pipeline="SanaSprintPipeline",
        networks={"text_encoder": "Gemma2Model", "transformer": "SanaTransformer2DModel", "vae": "AutoencoderDC"},
        size_multiple_px=32,
        guidance=Guidance.INPUT,
        negative_prompt=False,
        given_at_other_steps={"intermediate_timesteps": None},  # a time between the first and the last of two steps
    ),
    VerifiedPipeline(
        title="Lumina 2",
        pipeline="Lumina2Pipeline",
        networks={"text_encoder": "Gemma2Model", "transformer": "Lumina2Transformer2DModel", "vae": _KL},
        size_multiple_px=16,
        most_prompt_tokens=200,  # of 256, less the sentence that the pipeline puts before every prompt
    ),
    VerifiedPipeline(
        title="AuraFlow",
        pipeline="AuraFlowPipeline",
        networks={"text_encoder": "UMT5EncoderModel", "transformer": "AuraFlowTransformer2DModel", "vae": _KL},
        size_multiple_px=16,
        default_size_px=1024,
    ),
    VerifiedPipeline(
        title="HunyuanDiT",
        pipeline="HunyuanDiTPipeline",
        networks={
            "text_encoder": "BertModel",
            "text_encoder_2": _T5,
            "transformer": "HunyuanDiT2DModel",
            "vae": _KL,
        },
        size_multiple_px=16,
        most_prompt_tokens=77,
        given={"use_resolution_binning": False},  # else it makes the nearest of its own sizes and leaves it at that
    ),
    VerifiedPipeline(
        title="CogView 3-Plus",
        pipeline="CogView3PlusPipeline",
        networks={"text_encoder": _T5, "transformer": "CogView3PlusTransformer2DModel", "vae": _KL},
        size_multiple_px=16,
    ),
    VerifiedPipeline(
        title="CogView 4",
        pipeline="CogView4Pipeline",
        networks={"text_encoder": "GlmModel", "transformer": "CogView4Transformer2DModel", "vae": _KL},
        size_multiple_px=16,
    ),
    VerifiedPipeline(
        title="Kandinsky 3",
        pipeline="Kandinsky3Pipeline",
        networks={"text_encoder": _T5, "unet": "Kandinsky3UNet", "movq": "VQModel"},
        size_multiple_px=64,
        rounds_up_to_px=64,
        most_prompt_tokens=128,
    ),
    VerifiedPipeline(
        title="Ovis-Image",
        pipeline="OvisImagePipeline",
        networks={"text_encoder": "Qwen3Model", "transformer": "OvisImageTransformer2DModel", "vae": _KL},
        alone=frozenset({"text_encoder"}),  # called so that it returns a cache of keys, which nobody reads
        size_multiple_px=16,
    ),
)

VERIFIED: Mapping[str, VerifiedPipeline] = MappingProxyType({record.pipeline: record for record in _RECORDS})
"""By the class name of the pipeline; first-class families first."""
