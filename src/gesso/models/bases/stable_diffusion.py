"""Stable Diffusion 1, 2, XL, 3 and 3.5, and checkpoints made from them.

Sizes, prediction types and defaults: diffusers 0.42 (docstrings, `docs/source/en/api/pipelines`) and the model cards.
Licences and gates: the model cards' own headers.
"""

from dataclasses import replace

from gesso.models.bases.base import Base, TrainingSizes
from gesso.models.families import Sampling
from gesso.models.recognition.prediction import EDM, EPSILON, FLOW, V_PREDICTION

_CARD = "model card"
_DOCS = "docstrings of diffusers 0.42; licence: model card"
_UNREAD = "docstrings of diffusers 0.42"

_OPENRAIL_M, _OPENRAIL_PP, _STABILITY = "creativeml-openrail-m", "openrail++", "stabilityai-ai-community"
_TRAINED_AT_512 = TrainingSizes(least_px=256, most_px=768, multiple_px=8)
_TRAINED_AT_768 = TrainingSizes(least_px=384, most_px=1152, multiple_px=8)
_TRAINED_AT_1024 = TrainingSizes(least_px=512, most_px=1536, multiple_px=8)

SD15 = Base(
    name="sd15",
    title="Stable Diffusion 1.5",
    hub_id="stable-diffusion-v1-5/stable-diffusion-v1-5",
    aliases=("sd1.5", "sd-1.5", "sd-v1-5"),
    other_hub_ids=("runwayml/stable-diffusion-v1-5",),
    family="sd1",
    pipeline="StableDiffusionPipeline",
    native_px=512,
    training=_TRAINED_AT_512,
    prediction=EPSILON,
    licence=_OPENRAIL_M,
    controlnets=("lllyasviel/sd-controlnet-canny", "lllyasviel/sd-controlnet-openpose"),
    source=_CARD,
)
SD14 = replace(
    SD15,
    name="sd14",
    title="Stable Diffusion 1.4",
    hub_id="CompVis/stable-diffusion-v1-4",
    aliases=("sd1.4", "sd-1.4", "sd-v1-4"),
    other_hub_ids=(),
)
SD15_INPAINT = replace(
    SD15,
    name="sd15-inpaint",
    title="Stable Diffusion 1.5 inpainting",
    hub_id="stable-diffusion-v1-5/stable-diffusion-inpainting",
    aliases=("sd1.5-inpaint", "sd-inpainting"),
    other_hub_ids=("runwayml/stable-diffusion-inpainting",),
    pipeline="StableDiffusionInpaintPipeline",
    task="inpainting",
    controlnets=("lllyasviel/control_v11p_sd15_inpaint",),
)
DREAMSHAPER_8 = replace(
    SD15,
    name="dreamshaper-8",
    title="DreamShaper 8",
    hub_id="Lykon/dreamshaper-8",
    aliases=(),
    other_hub_ids=("lykon-models/dreamshaper-8",),
)
INSTRUCT_PIX2PIX = replace(
    SD15,
    name="instruct-pix2pix",
    title="InstructPix2Pix",
    hub_id="timbrooks/instruct-pix2pix",
    aliases=(),
    other_hub_ids=(),
    pipeline="StableDiffusionInstructPix2PixPipeline",
    task="instruct-pix2pix",
    licence=None,
    controlnets=(),
    source=_UNREAD,
)
LCM_DREAMSHAPER_7 = replace(
    SD15,
    name="lcm-dreamshaper-7",
    title="LCM DreamShaper 7",
    hub_id="SimianLuo/LCM_Dreamshaper_v7",
    aliases=("lcm-dreamshaper", "lcm"),
    other_hub_ids=(),
    pipeline="LatentConsistencyModelPipeline",
    defaults=Sampling(steps=4, guidance=8.0),  # the guidance is an input of the network and burns nothing
    licence="mit",
    controlnets=(),
    source=_DOCS,
)

SD21 = Base(
    name="sd21",
    title="Stable Diffusion 2.1, 768 px",
    hub_id="stabilityai/stable-diffusion-2-1",
    aliases=("sd2.1", "sd21-768", "sd-2.1-768"),
    family="sd2",
    pipeline="StableDiffusionPipeline",
    native_px=768,
    training=_TRAINED_AT_768,
    prediction=V_PREDICTION,
    licence=_OPENRAIL_PP,
    source=_CARD,
)
SD21_BASE = replace(
    SD21,
    name="sd21-base",
    title="Stable Diffusion 2.1 base, 512 px",
    hub_id="stabilityai/stable-diffusion-2-1-base",
    aliases=("sd21-512", "sd2.1-512", "sd-2.1-512", "sd2.1-base"),
    native_px=512,
    training=_TRAINED_AT_512,
    prediction=EPSILON,
)
SD20 = replace(
    SD21,
    name="sd20",
    title="Stable Diffusion 2.0, 768 px",
    hub_id="stabilityai/stable-diffusion-2",
    aliases=("sd2.0", "sd20-768"),
    licence=None,
    source=_UNREAD,
)
SD20_BASE = replace(
    SD21_BASE,
    name="sd20-base",
    title="Stable Diffusion 2.0 base, 512 px",
    hub_id="stabilityai/stable-diffusion-2-base",
    aliases=("sd20-512", "sd2.0-base"),
    licence=None,
    source=_UNREAD,
)

SDXL = Base(
    name="sdxl-base",
    title="Stable Diffusion XL base 1.0",
    hub_id="stabilityai/stable-diffusion-xl-base-1.0",
    aliases=("sdxl", "sdxl-1.0"),
    family="sdxl",
    pipeline="StableDiffusionXLPipeline",
    native_px=1024,
    training=_TRAINED_AT_1024,
    prediction=EPSILON,
    licence=_OPENRAIL_PP,
    gated=False,
    controlnets=("diffusers/controlnet-canny-sdxl-1.0", "xinsir/controlnet-union-sdxl-1.0"),
    source=_CARD,
)
SDXL_REFINER = replace(
    SDXL,
    name="sdxl-refiner",
    title="Stable Diffusion XL refiner 1.0",
    hub_id="stabilityai/stable-diffusion-xl-refiner-1.0",
    aliases=(),
    family="sdxl-refiner",
    pipeline="StableDiffusionXLImg2ImgPipeline",
    task="refining",
    gated=None,
    controlnets=(),
)
SDXL_TURBO = replace(
    SDXL,
    name="sdxl-turbo",
    title="Stable Diffusion XL Turbo",
    hub_id="stabilityai/sdxl-turbo",
    aliases=(),
    native_px=512,
    training=_TRAINED_AT_512,
    defaults=Sampling(steps=4, guidance=0.0),  # 1 to 4 steps, no guidance
    burns_above=1.0,
    licence="sai-nc-community",
    gated=None,
    source="diffusers, `api/pipelines/stable_diffusion/sdxl_turbo`; licence: model card",
)
REALVISXL_5 = replace(
    SDXL,
    name="realvisxl-5",
    title="RealVisXL 5.0",
    hub_id="SG161222/RealVisXL_V5.0",
    aliases=("realvisxl",),
)
PLAYGROUND_25 = replace(
    SDXL,
    name="playground-2.5",
    title="Playground 2.5, 1024 px aesthetic",
    hub_id="playgroundai/playground-v2.5-1024px-aesthetic",
    aliases=("playground",),
    prediction=EDM,
    licence="playground-v2dot5-community",
    gated=None,
    controlnets=(),
)

SD3_MEDIUM = Base(
    name="sd3-medium",
    title="Stable Diffusion 3 medium",
    hub_id="stabilityai/stable-diffusion-3-medium-diffusers",
    aliases=("sd3",),
    other_hub_ids=("stabilityai/stable-diffusion-3-medium",),
    family="sd3",
    variant="medium",
    pipeline="StableDiffusion3Pipeline",
    native_px=1024,
    training=replace(_TRAINED_AT_1024, multiple_px=16),
    prediction=FLOW,
    licence=None,  # the two repositories named different ones
    gated=True,
    controlnets=("InstantX/SD3-Controlnet-Canny",),
    source=_CARD,
)
SD35_MEDIUM = replace(
    SD3_MEDIUM,
    name="sd35-medium",
    title="Stable Diffusion 3.5 medium",
    hub_id="stabilityai/stable-diffusion-3.5-medium",
    aliases=("sd3.5-medium",),
    other_hub_ids=(),
    licence=_STABILITY,
    controlnets=(),
)
SD35_LARGE = replace(
    SD35_MEDIUM,
    name="sd35-large",
    title="Stable Diffusion 3.5 large",
    hub_id="stabilityai/stable-diffusion-3.5-large",
    aliases=("sd3.5-large", "sd35"),
    variant="3.5 large",
)
SD35_LARGE_TURBO = replace(
    SD35_LARGE,
    name="sd35-large-turbo",
    title="Stable Diffusion 3.5 large turbo",
    hub_id="stabilityai/stable-diffusion-3.5-large-turbo",
    aliases=("sd3.5-large-turbo", "sd35-turbo"),
    defaults=Sampling(steps=4, guidance=0.0),
    burns_above=1.0,
    gated=None,
    source="its maker's own demonstration, `spaces/stabilityai/stable-diffusion-3.5-large-turbo`; licence: model card",
)

BASES = (
    *(SD14, SD15, SD15_INPAINT, DREAMSHAPER_8, INSTRUCT_PIX2PIX, LCM_DREAMSHAPER_7),
    *(SD20, SD20_BASE, SD21, SD21_BASE),
    *(SDXL, SDXL_REFINER, SDXL_TURBO, REALVISXL_5, PLAYGROUND_25),
    *(SD3_MEDIUM, SD35_MEDIUM, SD35_LARGE, SD35_LARGE_TURBO),
)
