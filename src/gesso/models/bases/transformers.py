"""Flux, Z-Image, Qwen-Image and Chroma: rectified flows on transformers.

Defaults that are not here are those of the family or the pipeline, which name their sources. Licences and gates: the
model cards' own headers; of Flux.2 also the table in `black-forest-labs/flux2`.
"""

from dataclasses import replace

from gesso.models.bases.base import Base, TrainingSizes
from gesso.models.families import Sampling
from gesso.models.recognition.prediction import FLOW

_CARD = "model card"
_DOCS = "docstrings of diffusers 0.42; licence: model card"
_TRAINED_AT_1024 = TrainingSizes(least_px=512, most_px=1536, multiple_px=16)
_FLUX1_LICENCE, _FLUX2_LICENCE = "flux-1-dev-non-commercial-license", "flux-non-commercial-license"

FLUX1_DEV = Base(
    name="flux1-dev",
    title="Flux.1 dev",
    hub_id="black-forest-labs/FLUX.1-dev",
    aliases=("flux-dev", "flux.1-dev", "flux"),
    family="flux1",
    pipeline="FluxPipeline",
    native_px=1024,
    training=_TRAINED_AT_1024,
    prediction=FLOW,
    licence=_FLUX1_LICENCE,
    gated=True,
    controlnets=("InstantX/FLUX.1-dev-controlnet-canny", "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0"),
    source=_CARD,
)
FLUX1_SCHNELL = replace(
    FLUX1_DEV,
    name="flux1-schnell",
    title="Flux.1 schnell",
    hub_id="black-forest-labs/FLUX.1-schnell",
    aliases=("flux-schnell", "flux.1-schnell"),
    licence="apache-2.0",
    gated=False,
    controlnets=(),
)
FLUX1_KONTEXT = replace(
    FLUX1_DEV,
    name="flux1-kontext",
    title="Flux.1 Kontext dev",
    hub_id="black-forest-labs/FLUX.1-Kontext-dev",
    aliases=("flux-kontext", "flux.1-kontext-dev"),
    pipeline="FluxKontextPipeline",
    task="editing",
    defaults=Sampling(steps=28, guidance=2.5),
    gated=None,
    controlnets=(),
    source=_DOCS,
)
FLUX1_FILL = replace(
    FLUX1_KONTEXT,
    name="flux1-fill",
    title="Flux.1 Fill dev",
    hub_id="black-forest-labs/FLUX.1-Fill-dev",
    aliases=("flux-fill", "flux.1-fill-dev"),
    pipeline="FluxFillPipeline",
    task="inpainting",
    defaults=Sampling(steps=50, guidance=30.0),
    gated=True,
)
FLUX2_DEV = Base(
    name="flux2-dev",
    title="Flux.2 dev",
    hub_id="black-forest-labs/FLUX.2-dev",
    aliases=("flux.2-dev", "flux2"),
    family="flux2",
    pipeline="Flux2Pipeline",
    native_px=1024,
    training=_TRAINED_AT_1024,
    prediction=FLOW,
    licence=_FLUX2_LICENCE,
    gated=True,
    source=_CARD,
)
FLUX2_KLEIN_9B_BASE = replace(
    FLUX2_DEV,
    name="flux2-klein-9b-base",
    title="Flux.2 klein base, 9B",
    hub_id="black-forest-labs/FLUX.2-klein-base-9B",
    aliases=("flux.2-klein-base-9b",),
    family="flux2-klein",
    pipeline="Flux2KleinPipeline",
    gated=None,
)
FLUX2_KLEIN_9B = replace(
    FLUX2_KLEIN_9B_BASE,
    name="flux2-klein-9b",
    title="Flux.2 klein, 9B",
    hub_id="black-forest-labs/FLUX.2-klein-9B",
    aliases=("flux.2-klein-9b",),
    gated=True,
)
FLUX2_KLEIN_4B = replace(
    FLUX2_KLEIN_9B,
    name="flux2-klein-4b",
    title="Flux.2 klein, 4B",
    hub_id="black-forest-labs/FLUX.2-klein-4B",
    aliases=("flux.2-klein-4b", "flux2-klein"),
    licence="apache-2.0",
    gated=None,
)

Z_IMAGE = Base(
    name="z-image",
    title="Z-Image",
    hub_id="Tongyi-MAI/Z-Image",
    family="z-image",
    pipeline="ZImagePipeline",
    native_px=1024,
    training=_TRAINED_AT_1024,
    prediction=FLOW,
    licence="apache-2.0",
    gated=False,
    controlnets=("alibaba-pai/Z-Image-Fun-Controlnet-Union-2.1",),
    source=_CARD,
)
Z_IMAGE_TURBO = replace(
    Z_IMAGE,
    name="z-image-turbo",
    title="Z-Image Turbo",
    hub_id="Tongyi-MAI/Z-Image-Turbo",
    aliases=("zimage-turbo",),
    other_hub_ids=("Z-a-o/Z-Image-Turbo",),
    defaults=Sampling(steps=8, guidance=0.0),
    burns_above=0.0,  # here 0 is none: the pipeline adds it to 1
    controlnets=("alibaba-pai/Z-Image-Turbo-Fun-Controlnet-Union-2.1",),
    source=_DOCS,
)
QWEN_IMAGE = Base(
    name="qwen-image",
    title="Qwen-Image",
    hub_id="Qwen/Qwen-Image",
    aliases=("qwen",),
    family="qwen-image",
    pipeline="QwenImagePipeline",
    native_px=1328,
    training=TrainingSizes(least_px=664, most_px=1992, multiple_px=16),
    prediction=FLOW,
    licence="apache-2.0",
    gated=False,
    controlnets=("InstantX/Qwen-Image-ControlNet-Union", "InstantX/Qwen-Image-ControlNet-Inpainting"),
    source=_CARD,
)
QWEN_IMAGE_2512 = replace(
    QWEN_IMAGE,
    name="qwen-image-2512",
    title="Qwen-Image, December 2025",
    hub_id="Qwen/Qwen-Image-2512",
    aliases=(),
    controlnets=("alibaba-pai/Qwen-Image-2512-Fun-Controlnet-Union",),
)
QWEN_IMAGE_EDIT = replace(
    QWEN_IMAGE,
    name="qwen-image-edit",
    title="Qwen-Image Edit",
    hub_id="Qwen/Qwen-Image-Edit",
    aliases=("qwen-edit",),
    pipeline="QwenImageEditPipeline",
    task="editing",
    native_px=1024,  # diffusers brings the picture to a megapixel
    training=_TRAINED_AT_1024,
    controlnets=(),
    source=_DOCS,
)
QWEN_IMAGE_EDIT_2509 = replace(
    QWEN_IMAGE_EDIT,
    name="qwen-image-edit-2509",
    title="Qwen-Image Edit, September 2025",
    hub_id="Qwen/Qwen-Image-Edit-2509",
    aliases=("qwen-edit-2509",),
    pipeline="QwenImageEditPlusPipeline",
    licence=None,
    gated=None,
    source="docstrings of diffusers 0.42",
)
CHROMA_HD = Base(
    name="chroma-hd",
    title="Chroma 1 HD",
    hub_id="lodestones/Chroma1-HD",
    aliases=("chroma", "chroma1-hd"),
    family="chroma",
    pipeline="ChromaPipeline",
    native_px=1024,
    training=_TRAINED_AT_1024,
    prediction=FLOW,
    licence="apache-2.0",
    gated=False,
    source=_DOCS,
)
CHROMA_BASE = replace(
    CHROMA_HD,
    name="chroma-base",
    title="Chroma 1 base",
    hub_id="lodestones/Chroma1-Base",
    aliases=("chroma1-base",),
    native_px=512,
    training=TrainingSizes(least_px=256, most_px=768, multiple_px=16),
    source=_CARD,
)

BASES = (
    *(FLUX1_DEV, FLUX1_SCHNELL, FLUX1_KONTEXT, FLUX1_FILL),
    *(FLUX2_DEV, FLUX2_KLEIN_4B, FLUX2_KLEIN_9B, FLUX2_KLEIN_9B_BASE),
    *(Z_IMAGE, Z_IMAGE_TURBO, QWEN_IMAGE, QWEN_IMAGE_2512, QWEN_IMAGE_EDIT, QWEN_IMAGE_EDIT_2509),
    *(CHROMA_HD, CHROMA_BASE),
)
