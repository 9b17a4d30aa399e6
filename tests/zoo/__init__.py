"""Thin random pipelines of each family: the real classes and wiring, thousands of weights instead of billions.

A test that needs "a Stable Diffusion 3 folder" asks here. Weights are random but fixed by `seed`, scaled so that
signals neither die nor explode: pictures are finite, and differ by prompt, by seed and by weights. Latents are 8x8, so
pictures are 64 px. What decides behaviour is as in the released checkpoints: scheduler and its options, VAE scale and
shift, pad and end ids, `force_zeros_for_empty_prompt`, activation of the text encoders.

    pipe = zoo.build("sdxl")            # a fresh pipeline, yours to change
    pipe = zoo.built("sdxl")            # shared in this process: do not change it
    path = zoo.saved("sdxl")            # its folder, shared in this process: read only
    path = zoo.save("sdxl", tmp_path)   # a folder of your own
"""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AuraFlowPipeline,
    BriaPipeline,
    ChromaPipeline,
    CogView3PlusPipeline,
    CogView4Pipeline,
    DiffusionPipeline,
    Flux2KleinPipeline,
    Flux2Pipeline,
    FluxPipeline,
    HunyuanDiTPipeline,
    Kandinsky3Pipeline,
    LatentConsistencyModelPipeline,
    Lumina2Pipeline,
    OvisImagePipeline,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImagePipeline,
    SanaPipeline,
    SanaSprintPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    ZImagePipeline,
)
from torch import nn

from zoo import (
    aura_flow,
    bria,
    chroma,
    cogview,
    flux,
    flux2,
    hunyuan_dit,
    kandinsky,
    lumina,
    ovis,
    pixart,
    qwen_image,
    sana,
    stable_diffusion,
    z_image,
)
from zoo.networks import PICTURE_PX, stir
from zoo.stable_diffusion import safety_checker
from zoo.tokenizers import BEGIN, END, WORDS, clip_tokenizer, t5_tokenizer

__all__ = [
    "ARGUMENTS",
    "BEGIN",
    "END",
    "FIRST_CLASS",
    "KINDS",
    "OTHERS",
    "PICTURE_PX",
    "RECIPES",
    "UNKNOWN",
    "WORDS",
    "build",
    "built",
    "clip_tokenizer",
    "safety_checker",
    "save",
    "saved",
    "session_folder",
    "stir",
    "t5_tokenizer",
]

RECIPES: Mapping[str, tuple[type[DiffusionPipeline], Callable[[], dict[str, Any]]]] = {
    "sd1": (StableDiffusionPipeline, stable_diffusion.sd1),
    "sd2": (StableDiffusionPipeline, stable_diffusion.sd2),
    "sdxl": (StableDiffusionXLPipeline, stable_diffusion.sdxl),
    "sdxl-refiner": (StableDiffusionXLImg2ImgPipeline, stable_diffusion.sdxl_refiner),
    "sd3": (StableDiffusion3Pipeline, stable_diffusion.sd3),
    "flux-dev": (FluxPipeline, flux.flux_dev),
    "flux-schnell": (FluxPipeline, flux.flux_schnell),
    "z-image": (ZImagePipeline, z_image.z_image),
    "z-image-turbo": (ZImagePipeline, z_image.z_image_turbo),
    "flux2": (Flux2Pipeline, flux2.flux2_dev),
    "flux2-klein": (Flux2KleinPipeline, flux2.flux2_klein),
    "flux2-klein-base": (Flux2KleinPipeline, flux2.flux2_klein_base),
    "qwen-image": (QwenImagePipeline, qwen_image.qwen_image),
    "qwen-image-edit": (QwenImageEditPipeline, qwen_image.qwen_image_edit),
    "qwen-image-edit-plus": (QwenImageEditPlusPipeline, qwen_image.qwen_image_edit),
    "pixart": (PixArtSigmaPipeline, pixart.pixart),
    "pixart-alpha": (PixArtAlphaPipeline, pixart.pixart_alpha),
    "lcm": (LatentConsistencyModelPipeline, stable_diffusion.lcm),
    "chroma": (ChromaPipeline, chroma.chroma),
    "sana": (SanaPipeline, sana.sana),
    "sana-sprint": (SanaSprintPipeline, sana.sana_sprint),
    "lumina2": (Lumina2Pipeline, lumina.lumina2),
    "aura-flow": (AuraFlowPipeline, aura_flow.aura_flow),
    "hunyuan-dit": (HunyuanDiTPipeline, hunyuan_dit.hunyuan_dit),
    "cogview3plus": (CogView3PlusPipeline, cogview.cogview3plus),
    "cogview4": (CogView4Pipeline, cogview.cogview4),
    "kandinsky3": (Kandinsky3Pipeline, kandinsky.kandinsky3),
    "ovis": (OvisImagePipeline, ovis.ovis_image),
    "bria": (BriaPipeline, bria.bria),
}
FINISHING = ("sdxl-refiner",)
"""Kinds that go on with the pictures of another model."""
EDITING = ("qwen-image-edit", "qwen-image-edit-plus")
"""Kinds that change pictures as an instruction says."""
KINDS = tuple(kind for kind in RECIPES if kind not in (*FINISHING, *EDITING))
UNKNOWN = ("bria",)
"""Kinds that Gesso knows nothing of; they stand for every text-to-image class of diffusers that has no data."""
OTHERS = (
    *("pixart", "pixart-alpha", "lcm", "chroma", "sana", "sana-sprint", "lumina2", "aura-flow", "hunyuan-dit"),
    *("cogview3plus", "cogview4", "kandinsky3", "ovis", *UNKNOWN),
)
"""Kinds whose pipelines read the prompt themselves: their family is no data of Gesso."""
FIRST_CLASS = tuple(kind for kind in KINDS if kind not in OTHERS)
_AS_ASKED = {"use_resolution_binning": False}  # else they paint the nearest size that they were trained on
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(("pixart", "pixart-alpha", "sana", "hunyuan-dit"), _AS_ASKED),
    "sana-sprint": {**_AS_ASKED, "intermediate_timesteps": None},  # a time between the first and the last of two steps
}
"""What the pipeline of a kind must be told to paint pictures of `PICTURE_PX` in any number of steps."""


def build(kind: str, seed: int = 0, **replaced: Any) -> DiffusionPipeline:
    """A fresh pipeline of `kind` with the weights of `seed`; `replaced` overrides components or init options.

    The global random state is left as it was.
    """
    pipeline_class, recipe = RECIPES[kind]
    with torch.random.fork_rng(devices=[]):  # fresh networks draw from the global state before `stir` overwrites them
        parts = recipe() | replaced
    for index, (name, part) in enumerate(parts.items()):
        if isinstance(part, nn.Module) and name not in replaced:
            stir(part, seed * 1000 + index)
    pipe = pipeline_class(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save(kind: str, folder: Path | str, seed: int = 0, **replaced: Any) -> Path:
    """Write the pipeline of `kind` as a diffusers folder at `folder` and return its path."""
    path = Path(folder)
    build(kind, seed, **replaced).save_pretrained(path)
    return path


@cache
def session_folder() -> Path:
    """A temporary folder for this process, removed when it ends."""
    path = Path(tempfile.mkdtemp(prefix="gesso-zoo-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def built(kind: str, seed: int = 0) -> DiffusionPipeline:
    """The pipeline of `kind`, made once for this process. Shared: do not change it."""
    return build(kind, seed)


@cache
def saved(kind: str, seed: int = 0) -> Path:
    """The folder of `kind`, written once for this process. Shared: do not change it."""
    return save(kind, session_folder() / f"{kind}-{seed}", seed)
