"""Model families as data: what Gesso knows of each beyond what a model folder says.

Class names are strings, so that importing a family imports nothing heavy. A new family is a new value here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from gesso.models.tasks import Task, text_class


class GuidedCalls(StrEnum):
    """How a pipeline asks its denoiser for the predictions with and without the prompt."""

    NEGATIVE_FIRST = "negative-first"
    """In one call of two rows."""
    PROMPT_FIRST = "prompt-first"
    """The same, the prompt's row first."""
    APART = "apart"
    """In two calls of a row, the prompt's first."""


class Reads(StrEnum):
    """How text encoders read a prompt."""

    CHUNKS = "chunks"
    """In chunks of 75 tokens; `BREAK` begins one."""
    SECTIONS = "sections"
    """As a whole; what `BREAK` divides, apart."""
    WHOLE = "whole"
    """As one turn of a conversation, which nothing divides."""


_EMBEDS, _POOLED, _STATES = "prompt_embeds", "pooled_prompt_embeds", "encoder_hidden_states"


class Role(StrEnum):
    """What a network does in a pipeline. Tokenizers and schedulers are not networks and have none."""

    DENOISER = "denoiser"
    TEXT = "text"
    VAE = "vae"
    IMAGE = "image"
    """Reads pictures into embeddings."""
    SAFETY = "safety"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What a request gets that asks for nothing else."""

    steps: int
    guidance: float
    """Scale of classifier-free guidance, or of the guidance that the network takes as an input."""


LatentRgb = tuple[tuple[float, ...], ...]
"""One row (R, G, B) for each latent channel: [C, 3]."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Models that share an architecture and a way to condition it."""

    name: str
    title: str
    pipelines: Mapping[Task, str]
    """Dotted names, `diffusers:ClassName`."""
    components: Mapping[str, Role]
    """The networks by their names in the pipeline. A folder may lack text encoders, never the denoiser or the VAE."""
    conditioning: str
    """Dotted name of the function that reads the texts of a request."""
    prompt_places: Mapping[str, str] = field(default_factory=lambda: {_EMBEDS: _STATES})
    """What the pipeline calls what it makes of a text → path of the denoiser's argument that this becomes."""
    reads: Reads = Reads.CHUNKS
    reads_picture: bool = False
    """Its text encoder reads the picture that an instruction is about, beside the words."""
    size_multiple_px: int
    """Used when the folder's configs do not say; `folder.describe` computes it from them."""
    native_size_px: int
    """Side of the pictures it was trained on, at a VAE factor of 8; used when the folder's configs do not say."""
    flow: bool
    """Rectified flow (sigmas in 0..1) instead of diffusion."""
    defaults: Sampling
    guidance_embedded: bool = False
    """Guidance is an input of the network: one row a picture, no negative prompt."""
    negative_prompt: bool = True
    guidance_rescale: bool = False
    guidance_argument: str = "guidance_scale"
    """What the pipeline calls the guidance of a request."""
    guided_above: float = 1.0
    """Guidance above which the pipeline makes a second pass."""
    guided_calls: GuidedCalls = GuidedCalls.NEGATIVE_FIRST
    keeps_norm: bool = False
    """The pipeline gives the guided prediction the norm of the prompt's own, whatever it was made of."""
    without_effect: frozenset[str] = frozenset()
    """Arguments of the pipeline that do nothing, because the engine reads the prompt."""
    clip_skip: bool = False
    latent_rgb: LatentRgb | None = None
    """Linear map from latents to RGB in -1..1, for previews; true of the family's own VAE only."""
    latent_rgb_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    vae_class: str = "AutoencoderKL"
    vae_scaling_factor: float | None = None
    """Scaling factor of the family's own VAE, if it has one: a folder with another has other latents."""


# The maps from latents to RGB below are the figures published in ComfyUI, `comfy/latent_formats.py` (least-squares
# fits to decoded pictures of each family's VAE). Rows are latent channels.
_SD1_RGB = (
    (0.3512, 0.2297, 0.3227),
    (0.3250, 0.4974, 0.2350),
    (-0.2829, 0.1762, 0.2721),
    (-0.2120, -0.2616, -0.7177),
)
_SDXL_RGB = (
    (0.3651, 0.4232, 0.4341),
    (-0.2533, -0.0042, 0.1068),
    (0.1076, 0.1111, -0.0362),
    (-0.3165, -0.2492, -0.2188),
)
_SD3_RGB = (
    (-0.0922, -0.0175, 0.0749),
    (0.0311, 0.0633, 0.0954),
    (0.1994, 0.0927, 0.0458),
    (0.0856, 0.0339, 0.0902),
    (0.0587, 0.0272, -0.0496),
    (-0.0006, 0.1104, 0.0309),
    (0.0978, 0.0306, 0.0427),
    (-0.0042, 0.1038, 0.1358),
    (-0.0194, 0.0020, 0.0669),
    (-0.0488, 0.0130, -0.0268),
    (0.0922, 0.0988, 0.0951),
    (-0.0278, 0.0524, -0.0542),
    (0.0332, 0.0456, 0.0895),
    (-0.0069, -0.0030, -0.0810),
    (-0.0596, -0.0465, -0.0293),
    (-0.1448, -0.1463, -0.1189),
)
_FLUX1_RGB = (
    (-0.0346, 0.0244, 0.0681),
    (0.0034, 0.0210, 0.0687),
    (0.0275, -0.0668, -0.0433),
    (-0.0174, 0.0160, 0.0617),
    (0.0859, 0.0721, 0.0329),
    (0.0004, 0.0383, 0.0115),
    (0.0405, 0.0861, 0.0915),
    (-0.0236, -0.0185, -0.0259),
    (-0.0245, 0.0250, 0.1180),
    (0.1008, 0.0755, -0.0421),
    (-0.0515, 0.0201, 0.0011),
    (0.0428, -0.0012, -0.0036),
    (0.0817, 0.0765, 0.0749),
    (-0.1264, -0.0522, -0.1103),
    (-0.0280, -0.0881, -0.0499),
    (-0.1262, -0.0982, -0.0778),
)
_FLUX2_RGB = (
    (0.0058, 0.0113, 0.0073),
    (0.0495, 0.0443, 0.0836),
    (-0.0099, 0.0096, 0.0644),
    (0.2144, 0.3009, 0.3652),
    (0.0166, -0.0039, -0.0054),
    (0.0157, 0.0103, -0.0160),
    (-0.0398, 0.0902, -0.0235),
    (-0.0052, 0.0095, 0.0109),
    (-0.3527, -0.2712, -0.1666),
    (-0.0301, -0.0356, -0.0180),
    (-0.0107, 0.0078, 0.0013),
    (0.0746, 0.0090, -0.0941),
    (0.0156, 0.0169, 0.0070),
    (-0.0034, -0.0040, -0.0114),
    (0.0032, 0.0181, 0.0080),
    (-0.0939, -0.0008, 0.0186),
    (0.0018, 0.0043, 0.0104),
    (0.0284, 0.0056, -0.0127),
    (-0.0024, -0.0022, -0.0030),
    (0.1207, -0.0026, 0.0065),
    (0.0128, 0.0101, 0.0142),
    (0.0137, -0.0072, -0.0007),
    (0.0095, 0.0092, -0.0059),
    (0.0000, -0.0077, -0.0049),
    (-0.0465, -0.0204, -0.0312),
    (0.0095, 0.0012, -0.0066),
    (0.0290, -0.0034, 0.0025),
    (0.0220, 0.0169, -0.0048),
    (-0.0332, -0.0457, -0.0468),
    (-0.0085, 0.0389, 0.0609),
    (-0.0076, 0.0003, -0.0043),
    (-0.0111, -0.0460, -0.0614),
)
_QWEN_IMAGE_RGB = (  # that of Wan 2.1, whose encoder Qwen-Image's autoencoder shares
    (-0.1299, -0.1692, 0.2932),
    (0.0671, 0.0406, 0.0442),
    (0.3568, 0.2548, 0.1747),
    (0.0372, 0.2344, 0.1420),
    (0.0313, 0.0189, -0.0328),
    (0.0296, -0.0956, -0.0665),
    (-0.3477, -0.4059, -0.2925),
    (0.0166, 0.1902, 0.1975),
    (-0.0412, 0.0267, -0.1364),
    (-0.1293, 0.0740, 0.1636),
    (0.0680, 0.3019, 0.1128),
    (0.0032, 0.0581, 0.0639),
    (-0.1251, 0.0927, 0.1699),
    (0.0060, -0.0633, 0.0005),
    (0.3477, 0.2275, 0.2950),
    (0.1984, 0.0913, 0.1861),
)

SD1 = Family(
    name="sd1",
    title="Stable Diffusion 1.x",
    pipelines={Task.TEXT_TO_IMAGE: "diffusers:StableDiffusionPipeline"},
    components={
        "text_encoder": Role.TEXT,
        "unet": Role.DENOISER,
        "vae": Role.VAE,
        "safety_checker": Role.SAFETY,
        "image_encoder": Role.IMAGE,
    },
    conditioning="gesso.engine.conditioning.clip:encode_texts",
    size_multiple_px=8,
    native_size_px=512,
    flow=False,
    defaults=Sampling(steps=30, guidance=7.5),
    guidance_rescale=True,
    clip_skip=True,
    latent_rgb=_SD1_RGB,
    vae_scaling_factor=0.18215,
)
SD2 = replace(SD1, name="sd2", title="Stable Diffusion 2.x", native_size_px=768)  # the same VAE, hence the same map
SDXL = replace(
    SD1,
    name="sdxl",
    title="Stable Diffusion XL",
    pipelines={Task.TEXT_TO_IMAGE: "diffusers:StableDiffusionXLPipeline"},
    components={
        "text_encoder": Role.TEXT,
        "text_encoder_2": Role.TEXT,
        "unet": Role.DENOISER,
        "vae": Role.VAE,
        "image_encoder": Role.IMAGE,
    },
    conditioning="gesso.engine.conditioning.clip_pair:encode_texts",
    prompt_places={_EMBEDS: _STATES, _POOLED: "added_cond_kwargs.text_embeds"},
    native_size_px=1024,
    defaults=Sampling(steps=30, guidance=5.0),
    latent_rgb=_SDXL_RGB,
    latent_rgb_bias=(0.1084, -0.0175, -0.0011),
    vae_scaling_factor=0.13025,
)
# Reads OpenCLIP bigG alone, and a score of looks in place of a size. It finishes what SDXL began.
SDXL_REFINER = replace(
    SDXL,
    name="sdxl-refiner",
    title="Stable Diffusion XL refiner",
    pipelines={Task.IMAGE_TO_IMAGE: "diffusers:StableDiffusionXLImg2ImgPipeline"},
    components={"text_encoder_2": Role.TEXT, "unet": Role.DENOISER, "vae": Role.VAE},
)
SD3 = Family(
    name="sd3",
    title="Stable Diffusion 3",
    pipelines={Task.TEXT_TO_IMAGE: "diffusers:StableDiffusion3Pipeline"},
    components={
        "text_encoder": Role.TEXT,
        "text_encoder_2": Role.TEXT,
        "text_encoder_3": Role.TEXT,
        "transformer": Role.DENOISER,
        "vae": Role.VAE,
        "image_encoder": Role.IMAGE,
    },
    conditioning="gesso.engine.conditioning.triple:encode_texts",
    prompt_places={_EMBEDS: _STATES, _POOLED: "pooled_projections"},
    size_multiple_px=16,  # VAE factor 8, patches of 2
    native_size_px=1024,
    flow=True,
    defaults=Sampling(steps=28, guidance=7.0),
    clip_skip=True,
    latent_rgb=_SD3_RGB,
    latent_rgb_bias=(0.2394, 0.2135, 0.1925),
    vae_scaling_factor=1.5305,
)
SD35 = replace(SD3, title="Stable Diffusion 3.5", defaults=Sampling(steps=28, guidance=4.5))
FLUX1_DEV = Family(
    name="flux1",
    title="Flux.1 dev",
    pipelines={Task.TEXT_TO_IMAGE: "diffusers:FluxPipeline"},
    components={
        "text_encoder": Role.TEXT,
        "text_encoder_2": Role.TEXT,
        "transformer": Role.DENOISER,
        "vae": Role.VAE,
        "image_encoder": Role.IMAGE,
    },
    conditioning="gesso.engine.conditioning.clip_t5:encode_texts",
    prompt_places={_EMBEDS: _STATES, _POOLED: "pooled_projections"},
    reads=Reads.SECTIONS,
    size_multiple_px=16,  # VAE factor 8, then 2x2 packing
    native_size_px=1024,
    flow=True,
    defaults=Sampling(steps=28, guidance=3.5),
    guidance_embedded=True,
    negative_prompt=False,
    guided_calls=GuidedCalls.APART,
    latent_rgb=_FLUX1_RGB,
    latent_rgb_bias=(-0.0329, -0.0718, -0.0851),
    vae_scaling_factor=0.3611,
)
FLUX1_SCHNELL = replace(
    FLUX1_DEV, title="Flux.1 schnell", defaults=Sampling(steps=4, guidance=0.0), guidance_embedded=False
)
# Docstrings of diffusers' pipelines.
FLUX1_KONTEXT = replace(
    FLUX1_DEV,
    title="Flux.1 Kontext",
    pipelines={Task.EDIT: "diffusers:FluxKontextPipeline"},
    defaults=Sampling(steps=28, guidance=2.5),
)
FLUX1_FILL = replace(
    FLUX1_DEV,
    title="Flux.1 Fill",
    pipelines={Task.INPAINT: "diffusers:FluxFillPipeline"},
    defaults=Sampling(steps=50, guidance=30.0),
)

# Model card of Tongyi-MAI/Z-Image: 50 steps, guidance 4, pictures of a megapixel. The pipeline adds the guidance times
# the difference to the prediction itself, so that its 4 is 5 elsewhere and its 0 is none.
Z_IMAGE = Family(
    name="z-image",
    title="Z-Image",
    pipelines={Task.TEXT_TO_IMAGE: "diffusers:ZImagePipeline"},
    components={"text_encoder": Role.TEXT, "transformer": Role.DENOISER, "vae": Role.VAE},
    conditioning="gesso.engine.conditioning.z_image:encode_texts",
    prompt_places={_EMBEDS: "cap_feats"},
    reads=Reads.WHOLE,
    size_multiple_px=16,  # VAE factor 8, patches of 2
    native_size_px=1024,
    flow=True,
    defaults=Sampling(steps=50, guidance=4.0),
    guided_above=0.0,
    guided_calls=GuidedCalls.PROMPT_FIRST,
    without_effect=frozenset({"max_sequence_length"}),
    latent_rgb=_FLUX1_RGB,  # the VAE is that of Flux.1
    latent_rgb_bias=(-0.0329, -0.0718, -0.0851),
    vae_scaling_factor=0.3611,
)
# Docstring of diffusers' `ZImagePipeline`: 8 steps, guidance 0.
Z_IMAGE_TURBO = replace(Z_IMAGE, title="Z-Image Turbo", defaults=Sampling(steps=8, guidance=0.0))
# Model card of black-forest-labs/FLUX.2-dev and signature of diffusers' `Flux2Pipeline`: 50 steps, guidance 4.
FLUX2_DEV = Family(
    name="flux2",
    title="Flux.2 dev",
    pipelines={Task.TEXT_TO_IMAGE: "diffusers:Flux2Pipeline"},
    components={"text_encoder": Role.TEXT, "transformer": Role.DENOISER, "vae": Role.VAE},
    conditioning="gesso.engine.conditioning.flux2:encode_texts",
    reads=Reads.WHOLE,
    size_multiple_px=16,  # VAE factor 8, then 2x2 packing
    native_size_px=1024,
    flow=True,
    defaults=Sampling(steps=50, guidance=4.0),
    guidance_embedded=True,
    negative_prompt=False,
    guided_calls=GuidedCalls.APART,
    without_effect=frozenset({"max_sequence_length", "text_encoder_out_layers", "caption_upsample_temperature"}),
    latent_rgb=_FLUX2_RGB,
    latent_rgb_bias=(-0.0329, -0.0718, -0.0851),
    vae_class="AutoencoderKLFlux2",
)
# Docstring of diffusers' `Flux2KleinPipeline`: 50 steps, guidance 4.
FLUX2_KLEIN_BASE = replace(
    FLUX2_DEV,
    name="flux2-klein",
    title="Flux.2 klein base",
    pipelines={Task.TEXT_TO_IMAGE: "diffusers:Flux2KleinPipeline"},
    conditioning="gesso.engine.conditioning.flux2_klein:encode_texts",
    guidance_embedded=False,
    negative_prompt=True,
)
# Model card of black-forest-labs/FLUX.2-klein-4B: 4 steps; the pipeline ignores guidance.
FLUX2_KLEIN = replace(
    FLUX2_KLEIN_BASE, title="Flux.2 klein", defaults=Sampling(steps=4, guidance=0.0), negative_prompt=False
)
# Model card of Qwen/Qwen-Image: 50 steps, true guidance 4, 1328x1328 px.
QWEN_IMAGE = Family(
    name="qwen-image",
    title="Qwen-Image",
    pipelines={Task.TEXT_TO_IMAGE: "diffusers:QwenImagePipeline"},
    components={"text_encoder": Role.TEXT, "transformer": Role.DENOISER, "vae": Role.VAE},
    conditioning="gesso.engine.conditioning.qwen_image:encode_texts",
    prompt_places={_EMBEDS: _STATES, "prompt_embeds_mask": "encoder_hidden_states_mask"},
    reads=Reads.WHOLE,
    size_multiple_px=16,  # VAE factor 8, then 2x2 packing
    native_size_px=1328,
    flow=True,
    defaults=Sampling(steps=50, guidance=4.0),
    guidance_argument="true_cfg_scale",  # `guidance_scale` is for distilled networks, and ignored by this one
    guided_calls=GuidedCalls.APART,
    keeps_norm=True,
    without_effect=frozenset({"max_sequence_length"}),
    latent_rgb=_QWEN_IMAGE_RGB,
    latent_rgb_bias=(-0.1835, -0.0868, -0.3360),
    vae_class="AutoencoderKLQwenImage",
)
# None is published; the pipeline is ready for one. True guidance is then asked for by argument, as with Flux.1 dev.
QWEN_IMAGE_DISTILLED = replace(
    QWEN_IMAGE,
    title="Qwen-Image distilled",
    guidance_argument="guidance_scale",
    guidance_embedded=True,
    negative_prompt=False,
)
# Model card of Qwen/Qwen-Image-Edit: 50 steps, true guidance 4; the pipeline reads pictures of a megapixel.
QWEN_IMAGE_EDIT = replace(
    QWEN_IMAGE,
    title="Qwen-Image Edit",
    pipelines={Task.EDIT: "diffusers:QwenImageEditPipeline"},
    conditioning="gesso.engine.conditioning.qwen_image_edit:encode_texts",
    reads_picture=True,
    native_size_px=1024,
)
# Model card of Qwen/Qwen-Image-Edit-2509: 40 steps, true guidance 4.
QWEN_IMAGE_EDIT_PLUS = replace(
    QWEN_IMAGE_EDIT,
    title="Qwen-Image Edit, from September 2025 on",
    pipelines={Task.EDIT: "diffusers:QwenImageEditPlusPipeline"},
    conditioning="gesso.engine.conditioning.qwen_image_edit:encode_numbered_texts",
    defaults=Sampling(steps=40, guidance=4.0),
)

FAMILIES: dict[str, Family] = {
    family.name: family for family in (SD1, SD2, SDXL, SD3, FLUX1_DEV, Z_IMAGE, FLUX2_DEV, FLUX2_KLEIN_BASE, QWEN_IMAGE)
}
"""The first-class families by name. Variants that differ in a default only share the name; see `family_for`."""


def share_vae(name: str, family: Family) -> bool:
    """Whether the family called `name` has the VAE of `family`, as SD 1 and 2 have one, and Flux.1 and Z-Image."""
    other = FAMILIES.get(name.removesuffix("-refiner"))
    return other is not None and (other.vae_class, other.vae_scaling_factor) == (
        family.vae_class,
        family.vae_scaling_factor,
    )


SD2_CROSS_ATTENTION = 1024
"""Width of OpenCLIP ViT-H, which SD 2 reads; SD 1 reads CLIP ViT-L, 768 wide."""
Z_IMAGE_TURBO_SHIFT = 3.0
"""Of the scheduler of Z-Image Turbo; that of Z-Image is 6. Nothing else in the two folders differs but the weights."""


def family_for(
    pipeline_class: str,
    configs: Mapping[str, Mapping[str, Any]],
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Family | None:
    """The family of a folder, from its pipeline class and the configs of its components by name.

    SD 1 and 2 share a pipeline and are told apart by the width of the text that the UNet reads: 1024 is SD 2, any
    other is SD 1. Flux schnell has no `guidance_embeds`. SD 3.5 normalises queries and keys (`qk_norm`), SD 3 does not.
    Z-Image Turbo has another shift than Z-Image. Flux.2 klein says in its options whether it `is_distilled`.

    Args:
        options: init options of the pipeline, as `model_index.json` has them.
    """
    pipeline_class = text_class(pipeline_class)
    if pipeline_class == "StableDiffusionPipeline":
        width = configs.get("unet", {}).get("cross_attention_dim")
        return SD2 if width == SD2_CROSS_ATTENTION else SD1
    if pipeline_class == "StableDiffusionXLPipeline":
        return SDXL
    if pipeline_class == "StableDiffusionXLImg2ImgPipeline" and options.get("requires_aesthetics_score"):
        return SDXL_REFINER
    if pipeline_class == "StableDiffusion3Pipeline":
        return SD35 if configs.get("transformer", {}).get("qk_norm") else SD3
    if pipeline_class == "FluxPipeline":
        return FLUX1_DEV if configs.get("transformer", {}).get("guidance_embeds") else FLUX1_SCHNELL
    if pipeline_class == "FluxKontextPipeline":
        return FLUX1_KONTEXT
    if pipeline_class == "FluxFillPipeline":
        return FLUX1_FILL
    if pipeline_class == "ZImagePipeline":
        return Z_IMAGE_TURBO if configs.get("scheduler", {}).get("shift") == Z_IMAGE_TURBO_SHIFT else Z_IMAGE
    if pipeline_class == "Flux2Pipeline":
        return FLUX2_DEV
    if pipeline_class == "Flux2KleinPipeline":
        return FLUX2_KLEIN if options.get("is_distilled") else FLUX2_KLEIN_BASE
    if pipeline_class == "QwenImagePipeline":
        return QWEN_IMAGE_DISTILLED if configs.get("transformer", {}).get("guidance_embeds") else QWEN_IMAGE
    if pipeline_class == "QwenImageEditPipeline":
        return QWEN_IMAGE_EDIT
    if pipeline_class == "QwenImageEditPlusPipeline":
        return QWEN_IMAGE_EDIT_PLUS
    return None


_ROLE_BY_PREFIX = {
    "text_encoder": Role.TEXT,
    "unet": Role.DENOISER,
    "transformer": Role.DENOISER,
    "prior": Role.DENOISER,
    "vae": Role.VAE,
    "vqvae": Role.VAE,
    "vqgan": Role.VAE,
    "movq": Role.VAE,
    "image_encoder": Role.IMAGE,
    "safety_checker": Role.SAFETY,
}


def role_for(component: str, family: Family | None) -> Role:
    """The role of a network: as its family says, else by the names that diffusers gives to components."""
    if family is not None and component in family.components:
        return family.components[component]
    return next((role for prefix, role in _ROLE_BY_PREFIX.items() if component.startswith(prefix)), Role.OTHER)
