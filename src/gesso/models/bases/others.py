"""Bases of pipelines that read the prompt themselves.

Hub ids and defaults are those of the docstrings and signatures of diffusers 0.42, which run where nothing is said here.
Licences and gates: the model cards' own headers; `None` where no card was read.
"""

from dataclasses import replace

from gesso.models.bases.base import Base, TrainingSizes
from gesso.models.families import Sampling
from gesso.models.recognition.prediction import EPSILON, FLOW, V_PREDICTION

_DOCS = "docstrings of diffusers 0.42; licence: model card"
_UNREAD = "docstrings of diffusers 0.42"

SANA = Base(
    name="sana",
    title="Sana 1.6B, 1024 px",
    hub_id="Efficient-Large-Model/Sana_1600M_1024px_diffusers",
    other_hub_ids=("Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers",),
    family="sana",
    pipeline="SanaPipeline",
    native_px=1024,
    prediction=FLOW,
    licence="apache-2.0",
    source=_DOCS,
)
SANA_SPRINT = replace(
    SANA,
    name="sana-sprint",
    title="Sana Sprint 1.6B, 1024 px",
    hub_id="Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers",
    other_hub_ids=(),
    pipeline="SanaSprintPipeline",
    defaults=Sampling(steps=2, guidance=4.5),  # the guidance is an input of the network and burns nothing
    prediction=None,
    gated=False,
)
PIXART_ALPHA = Base(
    name="pixart-alpha",
    title="PixArt-Alpha, 1024 px",
    hub_id="PixArt-alpha/PixArt-XL-2-1024-MS",
    family="pixart",
    pipeline="PixArtAlphaPipeline",
    native_px=1024,
    prediction=EPSILON,
    licence="openrail++",
    source=_DOCS,
)
PIXART_ALPHA_512 = replace(
    PIXART_ALPHA,
    name="pixart-alpha-512",
    title="PixArt-Alpha, 512 px",
    hub_id="PixArt-alpha/PixArt-XL-2-512x512",
    native_px=512,
    licence=None,
    source=_UNREAD,
)
PIXART_SIGMA = replace(
    PIXART_ALPHA,
    name="pixart-sigma",
    title="PixArt-Sigma, 1024 px",
    hub_id="PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
    pipeline="PixArtSigmaPipeline",
)
PIXART_SIGMA_512 = replace(
    PIXART_SIGMA,
    name="pixart-sigma-512",
    title="PixArt-Sigma, 512 px",
    hub_id="PixArt-alpha/PixArt-Sigma-XL-2-512-MS",
    native_px=512,
    licence=None,
    source=_UNREAD,
)
LUMINA_2 = Base(
    name="lumina2",
    title="Lumina Image 2.0",
    hub_id="Alpha-VLLM/Lumina-Image-2.0",
    aliases=("lumina-2", "lumina"),
    family="lumina2",
    pipeline="Lumina2Pipeline",
    native_px=1024,
    prediction=FLOW,
    licence="apache-2.0",
    source=_DOCS,
)
AURA_FLOW = Base(
    name="auraflow",
    title="AuraFlow 0.3",
    hub_id="fal/AuraFlow-v0.3",
    aliases=("aura-flow", "auraflow-0.3"),
    family="auraflow",
    pipeline="AuraFlowPipeline",
    native_px=1024,
    prediction=FLOW,
    licence="apache-2.0",
    source=_DOCS,
)
HUNYUAN_DIT = Base(
    name="hunyuan-dit",
    title="HunyuanDiT 1.2",
    hub_id="Tencent-Hunyuan/HunyuanDiT-v1.2-Diffusers",
    aliases=("hunyuandit", "hunyuandit-1.2"),
    family="hunyuan-dit",
    pipeline="HunyuanDiTPipeline",
    native_px=1024,
    native_sizes=(  # `SUPPORTED_SHAPE` of its pipeline
        *((1024, 1024), (1280, 1280), (1024, 768), (1152, 864), (1280, 960)),
        *((768, 1024), (864, 1152), (960, 1280), (1280, 768), (768, 1280)),
    ),
    prediction=V_PREDICTION,
    licence="tencent-hunyuan-community",
    source=_DOCS,
)
HUNYUAN_IMAGE = Base(
    name="hunyuan-image-2.1",
    title="HunyuanImage 2.1",
    hub_id="hunyuanvideo-community/HunyuanImage-2.1-Diffusers",
    aliases=("hunyuan-image",),
    family="hunyuan-image",
    pipeline="HunyuanImagePipeline",
    native_px=2048,  # latents of 64x64, 32 px each
    prediction=FLOW,
    licence=None,
    source=_UNREAD,
)
KOLORS = Base(
    name="kolors",
    title="Kolors",
    hub_id="Kwai-Kolors/Kolors-diffusers",
    family="kolors",
    pipeline="KolorsPipeline",
    native_px=1024,
    prediction=EPSILON,
    licence="apache-2.0",  # the repository has a `MODEL_LICENSE` of its own besides
    source=_DOCS,
)
HIDREAM_FULL = Base(
    name="hidream-full",
    title="HiDream I1 full",
    hub_id="HiDream-ai/HiDream-I1-Full",
    aliases=("hidream", "hidream-i1"),
    family="hidream",
    pipeline="HiDreamImagePipeline",
    native_px=1024,
    prediction=FLOW,
    defaults=Sampling(steps=50, guidance=5.0),
    licence="mit",
    source="docstrings of diffusers 0.42; licence: `HiDream-ai/HiDream-I1`",
)
HIDREAM_FAST = replace(
    HIDREAM_FULL,
    name="hidream-fast",
    title="HiDream I1 fast",
    hub_id="HiDream-ai/HiDream-I1-Fast",
    aliases=("hidream-i1-fast",),
    defaults=Sampling(steps=16, guidance=0.0),
    burns_above=1.0,
    source="model card",
)
HIDREAM_DEV = replace(
    HIDREAM_FAST,
    name="hidream-dev",
    title="HiDream I1 dev",
    hub_id="HiDream-ai/HiDream-I1-Dev",
    aliases=("hidream-i1-dev",),
    defaults=Sampling(steps=28, guidance=0.0),
)
COGVIEW_4 = Base(
    name="cogview4",
    title="CogView 4",
    hub_id="THUDM/CogView4-6B",
    aliases=("cogview-4",),
    other_hub_ids=("zai-org/CogView4-6B",),
    family="cogview4",
    pipeline="CogView4Pipeline",
    native_px=1024,
    usual_pixels=(512 * 512, 2**21),
    training=TrainingSizes(least_px=512, most_px=1448, multiple_px=32),
    prediction=FLOW,
    licence="apache-2.0",
    source="model card",
)
COGVIEW_3_PLUS = Base(
    name="cogview3-plus",
    title="CogView 3-Plus",
    hub_id="THUDM/CogView3-Plus-3B",
    family="cogview3",
    pipeline="CogView3PlusPipeline",
    native_px=1024,
    prediction=None,
    licence=None,
    source=_UNREAD,
)
KANDINSKY_3 = Base(
    name="kandinsky3",
    title="Kandinsky 3",
    hub_id="kandinsky-community/kandinsky-3",
    aliases=("kandinsky-3",),
    family="kandinsky3",
    pipeline="Kandinsky3Pipeline",
    native_px=1024,
    prediction=None,
    licence="apache-2.0",
    source=_DOCS,
)
KANDINSKY_5 = Base(
    name="kandinsky5-lite",
    title="Kandinsky 5 Lite",
    hub_id="kandinskylab/Kandinsky-5.0-T2I-Lite-sft-Diffusers",
    aliases=("kandinsky-5", "kandinsky5"),
    family="kandinsky5",
    pipeline="Kandinsky5T2IPipeline",
    native_px=1024,
    prediction=FLOW,
    licence=None,
    source=_UNREAD,
)
STABLE_CASCADE = Base(
    name="stable-cascade",
    title="Stable Cascade",
    hub_id="stabilityai/stable-cascade",
    aliases=("cascade",),
    family="stable-cascade",
    pipeline="StableCascadeDecoderPipeline",
    task="decoding what `stabilityai/stable-cascade-prior` makes",
    native_px=1024,
    prediction=None,
    licence="stable-cascade-nc-community",
    source=_DOCS,
)
OVIS_IMAGE = Base(
    name="ovis-image",
    title="Ovis-Image 7B",
    hub_id="AIDC-AI/Ovis-Image-7B",
    family="ovis-image",
    pipeline="OvisImagePipeline",
    native_px=1024,
    prediction=FLOW,
    licence=None,
    source=_UNREAD,
)
LONGCAT_IMAGE = Base(
    name="longcat-image",
    title="LongCat-Image",
    hub_id="meituan-longcat/LongCat-Image",
    family="longcat-image",
    pipeline="LongCatImagePipeline",
    native_px=1024,
    prediction=FLOW,
    licence=None,
    source=_UNREAD,
)
GLM_IMAGE = Base(
    name="glm-image",
    title="GLM-Image",
    hub_id="zai-org/GLM-Image",
    family="glm-image",
    pipeline="GlmImagePipeline",
    native_px=1024,
    prediction=FLOW,
    licence=None,
    source=_UNREAD,
)
BRIA_32 = Base(
    name="bria-3.2",
    title="BRIA 3.2",
    hub_id="briaai/BRIA-3.2",
    aliases=("bria",),
    family="bria",
    pipeline="BriaPipeline",
    native_px=1024,
    prediction=FLOW,
    licence=None,
    source=_UNREAD,
)
OMNIGEN = Base(
    name="omnigen",
    title="OmniGen 1",
    hub_id="Shitao/OmniGen-v1-diffusers",
    family="omnigen",
    pipeline="OmniGenPipeline",
    native_px=1024,
    prediction=FLOW,
    licence=None,
    source=_UNREAD,
)

BASES = (
    *(SANA, SANA_SPRINT, PIXART_ALPHA, PIXART_ALPHA_512, PIXART_SIGMA, PIXART_SIGMA_512, LUMINA_2, AURA_FLOW),
    *(HUNYUAN_DIT, HUNYUAN_IMAGE, KOLORS, HIDREAM_FULL, HIDREAM_DEV, HIDREAM_FAST),
    *(COGVIEW_3_PLUS, COGVIEW_4, KANDINSKY_3, KANDINSKY_5, STABLE_CASCADE),
    *(OVIS_IMAGE, LONGCAT_IMAGE, GLM_IMAGE, BRIA_32, OMNIGEN),
)
