"""Recipes as AUTOMATIC1111, Forge, SD.Next and ComfyUI leave them in pictures, each with what it must become.

The texts are built from the documented formats, one quirk each; nothing here is computed by what is tested. `left_out`
are names of fields that Gesso has no counterpart for.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gesso.engine.foreign.read import ForeignTexts
from gesso.engine.foreign.values import Program


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """One recipe and the truth about it."""

    name: str
    program: Program
    texts: ForeignTexts
    fields: Mapping[str, Any]
    model: tuple[str | None, str | None] | None = None
    left_out: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """A picture and a mask that it began with, which are not in the file."""


A1111, FORGE, SDNEXT, COMFYUI = Program.AUTOMATIC1111, Program.FORGE, Program.SDNEXT, Program.COMFYUI
MEANT = {"noise_source": "nv", "dialect": "a1111"}
"""What AUTOMATIC1111 means without writing it."""
BASE = {"prompt": "a cat", "steps": 20, "sampler": "Euler a", "schedule": "uniform", "guidance": 7.0, "seed": 42}
BASE |= {"width": 512, "height": 768}
PAIRS = "Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 42, Size: 512x768"
MODEL = "Model hash: 0123456789, Model: toy"
TOY = ("toy", "0123456789")


def parameters(
    name: str,
    program: Program,
    text: str,
    *,
    without: tuple[str, ...] = (),
    left_out: tuple[str, ...] = (),
    **truth: Any,
) -> Specimen:
    """A text, whose truth is `BASE` and what the program means, but for `without`, and `truth`."""
    model = truth.pop("model", None)
    meant = {**BASE, **(MEANT if program in {A1111, FORGE} else {}), **truth}
    fields = {key: value for key, value in meant.items() if key not in without}
    texts = ForeignTexts(parameters=text)
    return Specimen(name=name, program=program, texts=texts, fields=fields, model=model, left_out=left_out)


def a1111(name: str, pairs: str = "", version: str = "v1.10.1", first: str = PAIRS, **truth: Any) -> Specimen:
    end = f", Version: {version}" if version else ""
    return parameters(name, A1111, f"a cat\n{first}{', ' if pairs else ''}{pairs}{end}", **truth)


def sampled(sampler: str, schedule: str | None, expected: tuple[str, str], pairs: str = "", **truth: Any) -> Specimen:
    written = f"{sampler}, Schedule type: {schedule}" if schedule else sampler
    first = PAIRS.replace("Euler a, Schedule type: Automatic", written)
    names = {"sampler": expected[0], "schedule": expected[1], **truth}
    return a1111(f"{sampler}, {schedule}", pairs, first=first, **names)


AUTOMATIC1111_TEXTS = (
    a1111("the usual", MODEL, model=TOY),
    sampled("Euler", "Automatic", ("Euler", "uniform")),
    sampled("DPM++ 2M", "Karras", ("DPM++ 2M", "karras")),
    sampled("DPM++ 2M", "Automatic", ("DPM++ 2M", "karras")),
    sampled("DPM++ 2M", "Normal", ("DPM++ 2M", "uniform")),
    sampled("DPM++ 2M", "SGM Uniform", ("DPM++ 2M", "sgm-uniform")),
    sampled("Euler", "Simple", ("Euler", "simple")),
    sampled("Euler", "Beta", ("Euler", "beta")),
    sampled("Euler", "Uniform", ("Euler", "uniform")),
    sampled("Heun", "Polyexponential", ("Heun", "exponential")),
    sampled("LMS", "Karras", ("LMS", "karras")),
    sampled("DPM2", "Karras", ("DPM2", "karras")),
    sampled("DPM2 a", "Automatic", ("DPM2 a", "karras")),
    sampled("DPM++ 2S a", "Karras", ("DPM++ 2S a", "karras")),
    sampled("DPM++ SDE", "Karras", ("DPM++ SDE", "karras")),
    sampled("DPM++ 2M SDE", "Exponential", ("DPM++ 2M SDE", "exponential")),
    sampled("DPM++ 2M SDE Heun", "Automatic", ("DPM++ 2M SDE Heun", "exponential")),
    sampled("DPM++ 3M SDE", "Exponential", ("DPM++ 3M SDE", "exponential")),
    sampled("DDIM", None, ("DDIM", "automatic"), "Eta DDIM: 0.5", eta=0.5),
    sampled("PLMS", None, ("PLMS", "automatic")),
    sampled("UniPC", None, ("UniPC", "automatic"), "UniPC variant: bh1"),
    sampled("LCM", "Automatic", ("LCM", "automatic")),
    sampled("Euler", "Automatic", ("Euler", "uniform"), "Sigma churn: 3.0, Sigma tmax: inf", s_churn=3.0, s_tmax=0.0),
    sampled(
        "Heun",
        "Karras",
        ("Heun", "karras"),
        "Sigma churn: 3, Sigma tmin: 0.1, Sigma tmax: 9.5, Sigma noise: 1.01",
        s_churn=3.0,
        s_tmin=0.1,
        s_tmax=9.5,
        s_noise=1.01,
    ),
    a1111("noise of a CPU", "RNG: CPU", noise_source="cpu"),
    a1111("noise of a GPU computed elsewhere", "RNG: NV"),
    a1111("ENSD and clip skip", "Clip skip: 2, ENSD: 31337", clip_skip=2, eta_seed_offset=31337),
    a1111("clip skip that is none", "Clip skip: 1", clip_skip=1),
    a1111(
        "a variation",
        "Variation seed: 7, Variation seed strength: 0.25",
        variation_seed=7,
        variation_strength=0.25,
    ),
    a1111("eta", "Eta: 0.67", eta=0.67),
    a1111("SGM noise", "SGM noise multiplier: True", sgm_noise_multiplier=True),
    a1111("size of no whole latents", first=PAIRS.replace("512x768", "510x775"), width=504, height=768),
    a1111("a float where most write whole numbers", first=PAIRS.replace("scale: 7", "scale: 7.0")),
    a1111(
        "a model with commas",
        'Model hash: 0123456789, Model: "toy, the: \\"best\\""',
        model=('toy, the: "best"', TOY[1]),
    ),
    a1111("a model and no hash", "Model: toy", model=("toy", None)),
    a1111("a hash and no model", "Model hash: 0123456789", model=(None, "0123456789")),
    a1111("a VAE", "VAE hash: 735e4c3a44, VAE: vae-ft.safetensors", vae="vae-ft.safetensors"),
    a1111("a user", "User: somebody"),
    a1111(
        "a second pass",
        "Denoising strength: 0.7, Hires upscale: 2, Hires upscaler: Latent",
        hires={"strength": 0.7, "scale": 2.0, "upscaler": "latent"},
    ),
    a1111(
        "a second pass with all of its own",
        'Denoising strength: 0.5, Hires sampler: DPM++ 2M, Hires schedule type: Karras, Hires prompt: "a dog, big", '
        "Hires negative prompt: cat, Hires resize: 1024x0, Hires steps: 12, Hires upscaler: Latent (nearest-exact)",
        hires={
            "strength": 0.5,
            "sampler": "DPM++ 2M",
            "schedule": "karras",
            "prompt": "a dog, big",
            "negative_prompt": "cat",
            "width": 1024,
            "steps": 12,
            "upscaler": "latent-nearest-exact",
        },
    ),
    a1111(
        "a second pass of odd size",
        "Denoising strength: 0.7, Hires upscale: 1.3, Hires steps: 0, Hires upscaler: Lanczos",
        hires={"strength": 0.7, "width": 664, "height": 992, "upscaler": "lanczos"},
    ),
    a1111(
        "a refiner",
        'Refiner: "toy, refined [0123456789]", Refiner switch at: 0.8',
        refiner={"model": "toy, refined", "at": 0.8},
    ),
    a1111("a refiner that never goes on", "Refiner: refined [0123456789], Refiner switch at: 1.0"),
    a1111("a texture", "Tiling: True", tiling="both"),
    a1111("a texture, the key alone", "Tiling", tiling="both"),
    a1111("guidance that begins late", "Skip Early CFG: 0.1", guidance_start=0.1),
    a1111("a development version", version="v1.9.4-169-ga30b19dd"),
    parameters(
        "a negative prompt of lines",
        A1111,
        f"a cat\nNegative prompt: blurry,\n(ugly:1.2)\n\nbad\n{PAIRS}, Version: v1.10.1",
        negative_prompt="blurry,\n(ugly:1.2)\n\nbad",
        weighting="original",
    ),
    parameters("a prompt of lines", A1111, f"a cat,\n\n  sits\n{PAIRS}, Version: v1.10.1", prompt="a cat,\n\nsits"),
    parameters(
        "no prompt", A1111, f"Negative prompt: blurry\n{PAIRS}, Version: v1.10.1", prompt="", negative_prompt="blurry"
    ),
    parameters("neither prompt", A1111, f"{PAIRS}, Version: v1.10.1", prompt=""),
    parameters(
        "a prompt that looks like fields",
        A1111,
        f"Steps: 5, Seed: 1, Size: 8x8\na cat: big, black\n{PAIRS}, Version: v1.10.1",
        prompt="Steps: 5, Seed: 1, Size: 8x8\na cat: big, black",
    ),
    parameters("line ends of Windows", A1111, f"a cat\r\nNegative prompt: dog\r\n{PAIRS}\r\n", negative_prompt="dog"),
    parameters(
        "letters of many languages", A1111, f"猫 é 🎨 \u2028x\n{PAIRS}, Version: v1.10.1", prompt="猫 é 🎨 \u2028x"
    ),
    parameters(
        "weights and networks",
        A1111,
        f'a (cat:1.2) <lora:foo:0.8>\n{PAIRS}, Lora hashes: "foo: 0123456789ab, bar: ba9876543210", Version: v1.10.1',
        prompt="a (cat:1.2) <lora:foo:0.8>",
        weighting="original",
    ),
    parameters(
        "weights by another rule",
        A1111,
        f"a (cat)\n{PAIRS}, Emphasis: No norm, Version: v1.10.1",
        prompt="a (cat)",
        weighting="no-norm",
    ),
    parameters(
        "weights without effect",
        A1111,
        f"a [cat]\n{PAIRS}, Emphasis: Ignore, Version: v1.10.1",
        prompt="a [cat]",
        weighting="ignore",
    ),
    parameters(
        "what dynamic prompts append",
        A1111,
        f"a cat\n{PAIRS}, Version: v1.10.1\nTemplate: a {{cat|cow}}\nNegative Template: ugly",
    ),
    a1111("fields of an extension as JSON", 'Hashes: {"model": "0123456789", "vae": "735e4c3a44"}'),
    a1111("what is so anyway", "Schedule rho: 7.0, FP8 weight: Disable, Tiling: False"),
)

OLD = PAIRS.replace(", Schedule type: Automatic", "")
OLDER_TEXTS = (
    a1111(
        "a schedule in the sampler's name",
        version="v1.6.0",
        first=OLD.replace("Euler a", "DPM++ 2M Karras"),
        sampler="DPM++ 2M",
        schedule="karras",
    ),
    a1111(
        "no schedule was not Karras yet", version="v1.5.1", first=OLD.replace("Euler a", "DPM++ 2M"), sampler="DPM++ 2M"
    ),
    a1111("an ancestral one", version="v1.2.1", first=OLD),
    a1111(
        "SDE, exponential",
        version="v1.7.0",
        first=OLD.replace("Euler a", "DPM++ 2M SDE Exponential"),
        sampler="DPM++ 2M SDE",
        schedule="exponential",
    ),
    a1111(
        "SDE, Karras",
        version="v1.8.0",
        first=OLD.replace("Euler a", "DPM++ SDE Karras"),
        sampler="DPM++ SDE",
        schedule="karras",
    ),
    a1111(
        "SDE of third order, bare",
        version="v1.8.0",
        first=OLD.replace("Euler a", "DPM++ 3M SDE"),
        sampler="DPM++ 3M SDE",
    ),
    a1111(
        "DDIM has levels of its own",
        version="v1.4.0",
        first=OLD.replace("Euler a", "DDIM"),
        sampler="DDIM",
        schedule="automatic",
    ),
    a1111("before versions were written", "Model hash: 7460a6fa", version="", first=OLD, model=(None, "7460a6fa")),
    a1111(
        "of a batch",
        "Model hash: 7460a6fa, Batch size: 4, Batch pos: 2",
        version="",
        first=OLD,
        model=(None, "7460a6fa"),
    ),
    a1111(
        "DPM2 a Karras of 2022",
        "Clip skip: 2, ENSD: 31337",
        version="",
        first=OLD.replace("Euler a", "DPM2 a Karras"),
        sampler="DPM2 a",
        schedule="karras",
        clip_skip=2,
        eta_seed_offset=31337,
    ),
    a1111("no size", version="v1.6.0", first=OLD.replace(", Size: 512x768", ""), without=("width", "height")),
    a1111(
        "no sampler and no schedule",
        version="v1.6.0",
        first=OLD.replace("Sampler: Euler a, ", ""),
        without=("sampler", "schedule"),
    ),
)

FORGE_TEXTS = (
    parameters("Forge", FORGE, f"a cat\n{PAIRS}, {MODEL}, Version: f2.0.1v1.10.1-previous-519-g44eb4ea8", model=TOY),
    parameters(
        "Forge of the first year",
        FORGE,
        f"a cat\n{OLD.replace('Euler a', 'DPM++ 2M Karras')}, Version: f0.0.17v1.8.0rc-latest-276-g29be1da7",
        sampler="DPM++ 2M",
        schedule="karras",
    ),
    parameters(
        "Forge with low bits",
        FORGE,
        f"a cat\n{PAIRS}, Diffusion in Low Bits: Automatic, RNG: CPU, Version: f2.0.1",
        noise_source="cpu",
    ),
    parameters(
        "Forge with Flux",
        FORGE,
        "a cat\nSteps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 42, "
        "Size: 512x768, Model hash: 0123456789, Model: toy, Version: f2.0.1v1.10.1-previous-669-gdfdcbab6",
        sampler="Euler",
        schedule="simple",
        guidance=3.5,
        model=TOY,
    ),
    parameters(
        "Forge's second pass",
        FORGE,
        f"a cat\n{PAIRS}, Denoising strength: 0.4, Hires Module 1: Use same choices, Hires CFG Scale: 5, "
        "Hires upscale: 1.5, Hires upscaler: Latent, Version: f2.0.1v1.10.1",
        hires={"strength": 0.4, "guidance": 5.0, "scale": 1.5, "upscaler": "latent"},
    ),
    parameters("a later Forge", FORGE, f"a cat\n{PAIRS}, Version: neo", left_out=()),
)

NEXT = (
    "Steps: 20, Size: 512x768, Sampler: Euler a, Scheduler: EulerAncestralDiscreteScheduler, Seed: 42, CFG scale: 7.0"
)
NEXT_END = "App: SD.Next, Version: 0eb4a98, Pipeline: StableDiffusionPipeline, Operations: txt2img, Model: toy"
NEXT_END += ", Model hash: 0123456789"
NEXT_MEANT = {"noise_source": "nv", "dialect": "a1111", "weighting": "comfyui", "model": TOY}


def sdnext(
    name: str, pairs: str = "", first: str = NEXT, negative: str = "", done: str = "txt2img", **truth: Any
) -> Specimen:
    end = NEXT_END.replace("txt2img", done)
    text = f"a cat\nNegative prompt: {negative}\n{first}, {pairs}{', ' if pairs else ''}{end}"
    return parameters(name, SDNEXT, text, **{**NEXT_MEANT, **truth})


SDNEXT_TEXTS = (
    sdnext("an empty negative prompt"),
    sdnext("a negative prompt", negative="blurry", negative_prompt="blurry"),
    sdnext(
        "Karras",
        "Sampler sigma: karras",
        first=NEXT.replace("Euler a", "DPM++ 2M"),
        sampler="DPM++ 2M",
        schedule="karras",
    ),
    sdnext(
        "trailing",
        "Sampler spacing: trailing",
        first=NEXT.replace("Euler a", "Euler"),
        sampler="Euler",
        schedule="simple",
    ),
    sdnext("a name of its own", first=NEXT.replace("Euler a", "LMSD"), sampler="LMS"),
    sdnext("DPM SDE", first=NEXT.replace("Euler a", "DPM SDE"), sampler="DPM++ SDE"),
    sdnext("DPM++ 2M SDE", first=NEXT.replace("Euler a", "DPM++ 2M SDE"), sampler="DPM++ 2M SDE"),
    sdnext("the model's own sampler", first=NEXT.replace("Sampler: Euler a, ", ""), without=("sampler", "schedule")),
    sdnext("clip skip in its own spelling", "CLiP-skip: 2", clip_skip=2),
    sdnext("a variation", "Variation seed: 7, Variation strength: 0.25", variation_seed=7, variation_strength=0.25),
    sdnext("rescaled guidance", "CFG rescale: 0.7", guidance_rescale=0.7),
    sdnext("an offset", "Sampler eta delta: 31337", eta_seed_offset=31337),
    sdnext("the parser of AUTOMATIC1111", "Parser: a1111", weighting="original"),
    sdnext("weights that are not applied", "Parser: fixed", weighting="ignore"),
    sdnext(
        "a second pass of 2025, of latents",
        "Refine: True, HiRes mode: 1, Hires upscaler: Latent Bicubic antialias, Hires scale: 1.5, "
        "Hires size: 768x1152, Hires force: False, Hires steps: 12, Hires strength: 0.4, Hires sampler: DPM SDE, "
        "Hires CFG scale: 5.0",
        hires={
            "scale": 1.5,
            "upscaler": "latent-bicubic-antialiased",
            "steps": 12,
            "strength": 0.4,
            "guidance": 5.0,
            "sampler": "DPM++ SDE",
            "schedule": "uniform",
        },
        done="txt2img; upscale; hires",
    ),
    sdnext(
        "a second pass of 2025, of the same size",
        "Refine: True, Hires force: True, Hires steps: 0, Hires strength: 0.3, Hires sampler: Same as primary, "
        "Refiner prompt: a large cat",
        hires={"scale": 1.0, "strength": 0.3, "prompt": "a large cat"},
        done="hires; txt2img",
    ),
    sdnext(
        "a second pass of 2024, of a stated size",
        "Second pass: True, Hires force: True, Hires steps: 10, HiRes resize mode: 1, Hires upscaler: Resize Lanczos, "
        "Hires scale: 2.0, Hires resize: 768x1152, Hires size: 768x1152, Denoising strength: 0.5, "
        "Hires sampler: Default, Image CFG scale: 6.0",
        hires={
            "width": 768,
            "height": 1152,
            "upscaler": "lanczos",
            "steps": 10,
            "strength": 0.5,
            "guidance": 6.0,
        },
        done="txt2img; upscale; hires",
    ),
    sdnext(
        "a second pass of 2023, which only enlarges",
        "Second pass: True, Hires force: False, Hires steps: 10, Hires upscaler: ESRGAN 4x Ultrasharp, "
        "Hires upscale: 2.0, Hires size: 1024x1536, Denoising strength: 0.5, Hires sampler: Default",
        left_out=("Hires upscaler", "Hires upscale"),
        done="upscale; txt2img",
    ),
    sdnext(
        "a second pass of 2025, at the strength of the first",
        "Refine: True, HiRes mode: 1, Hires upscaler: Latent Bicubic, Hires scale: 2.0, Hires size: 1024x1536, "
        "Hires force: True, Hires steps: 10, Hires strength: 0.0, Hires sampler: Default",
        hires={"strength": 0.3, "scale": 2.0, "upscaler": "latent-bicubic", "steps": 10},
        left_out=("Hires strength",),
        done="txt2img; upscale; hires",
    ),
    sdnext("one of a batch", "Batch: 2x4, Index: 1x3"),
    sdnext("styles and networks", 'Styles: "ink; old, paper", LoRA networks: "foo, bar"'),
    parameters(
        "templates before the fields",
        SDNEXT,
        f"a cat\nNegative prompt: blurry\nTemplate: a {{cat|cow}}\nNegative template: ugly\n{NEXT}, {NEXT_END}",
        negative_prompt="blurry",
        **NEXT_MEANT,
    ),
)

OTHER_TEXTS = (
    parameters(
        "CivitAI's own generator",
        A1111,
        "a cat\nSteps: 20, CFG scale: 7, Sampler: Euler a, Seed: 42, Size: 512x768, Clip skip: 2, Created Date: "
        '2024-09-23T06:17:42.9952795Z, Civitai resources: [{"type":"checkpoint","modelVersionId":691639,"modelName":'
        '"FLUX, the best"}], Civitai metadata: {}',
        clip_skip=2,
    ),
    parameters(
        "Gesso's own, without its recipe",
        Program.GESSO,
        "a cat\nSteps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.0, Seed: 42, Size: 512x768, "
        "Model hash: 0123456789, Model: toy, RNG: CPU, Version: Gesso 0.1.0",
        noise_source="cpu",
        dynamic=False,
        model=TOY,
    ),
    parameters(
        "a node that writes the text",
        COMFYUI,
        "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7.0, Seed: 42, Size: 512x768, Model: toy, Version: ComfyUI",
        noise_source="cpu",
        dialect="comfyui",
        model=("toy", None),
    ),
)

# --- ComfyUI

GRAPH: Mapping[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            **{"seed": 42, "steps": 20, "cfg": 7, "sampler_name": "euler", "scheduler": "normal", "denoise": 1},
            **{"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]},
        },
        "_meta": {"title": "KSampler"},
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "toy.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
}
"""The graph that ComfyUI opens with."""
COMFYUI_MEANT = {**BASE, "sampler": "Euler", "noise_source": "cpu", "dialect": "comfyui", "weighting": "comfyui"}
COMFYUI_MEANT |= {"sgm_noise_multiplier": True}


def nodes(**changes: Any) -> dict[str, Any]:
    """`GRAPH` with other inputs: `n3={"steps": 5}`; with nodes more: `n10=("LoraLoader", {…})`; without: `n7=None`."""
    graph = copy.deepcopy(dict(GRAPH))
    for name, change in changes.items():
        key = name.removeprefix("n")
        if change is None:
            del graph[key]
        elif isinstance(change, tuple):
            graph[key] = {"class_type": change[0], "inputs": change[1]}
        else:
            graph[key]["inputs"] |= change
    return graph


def comfyui(
    name: str, graph: dict[str, Any], *, without: tuple[str, ...] = (), left_out: tuple[str, ...] = (), **truth: Any
) -> Specimen:
    model = truth.pop("model", ("toy", None))
    fields = {key: value for key, value in {**COMFYUI_MEANT, **truth}.items() if key not in without}
    texts = ForeignTexts(graph=json.dumps(graph))
    return Specimen(name=name, program=COMFYUI, texts=texts, fields=fields, model=model, left_out=left_out)


_CUSTOM = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
_BASIC = ("BasicScheduler", {"model": ["4", 0], "scheduler": "karras", "steps": 20, "denoise": 1.0})
_SDE = ("SamplerEulerAncestral", {"eta": 0.5, "s_noise": 1.0})
_FLUX = nodes(
    n3=(
        "SamplerCustomAdvanced",
        {"noise": ["25", 0], "guider": ["22", 0], "sampler": ["16", 0], "sigmas": ["17", 0], "latent_image": ["5", 0]},
    ),
    n5=("EmptySD3LatentImage", {"width": 512, "height": 768, "batch_size": 1}),
    n7=None,
    n16=("KSamplerSelect", {"sampler_name": "euler"}),
    n17=("BasicScheduler", {"model": ["4", 0], "scheduler": "simple", "steps": 20, "denoise": 1}),
    n22=("BasicGuider", {"model": ["4", 0], "conditioning": ["26", 0]}),
    n25=("RandomNoise", {"noise_seed": 42}),
    n26=("FluxGuidance", {"conditioning": ["6", 0], "guidance": 3.5}),
)

_STEPS = {"steps": 25, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal"}
_LOOKS = {"width": 512, "height": 768, "clip": ["12", 1]}
_REFINER = {"model": "refiner", "at": 0.8}


def refined(**changes: Any) -> dict[str, Any]:
    """The graph that the makers of SDXL show, with `changes`."""
    first = {**_STEPS, **_CUSTOM, "add_noise": "enable", "noise_seed": 42, "start_at_step": 0, "end_at_step": 20}
    second = {**_STEPS, "add_noise": "disable", "noise_seed": 0, "start_at_step": 20, "end_at_step": 10000}
    second |= {"model": ["12", 0], "positive": ["15", 0], "negative": ["16", 0], "latent_image": ["3", 0]}
    usual: dict[str, Any] = {
        "n3": ("KSamplerAdvanced", {**first, "return_with_leftover_noise": "enable"}),
        "n4": {"ckpt_name": "base.safetensors"},
        "n8": {"samples": ["11", 0], "vae": ["12", 2]},
        "n11": ("KSamplerAdvanced", {**second, "return_with_leftover_noise": "disable"}),
        "n12": ("CheckpointLoaderSimple", {"ckpt_name": "refiner.safetensors"}),
        "n15": ("CLIPTextEncode", {"text": "a cat", "clip": ["12", 1]}),
        "n16": ("CLIPTextEncode", {"text": "", "clip": ["12", 1]}),
    }
    return nodes(**usual | changes)


COMFYUI_GRAPHS = (
    comfyui("the usual graph", nodes()),
    comfyui("a negative prompt", nodes(n7={"text": "blurry, (ugly:1.2)"}), negative_prompt="blurry, (ugly:1.2)"),
    comfyui(
        "DPM++ 2M Karras",
        nodes(n3={"sampler_name": "dpmpp_2m", "scheduler": "karras"}),
        sampler="DPM++ 2M",
        schedule="karras",
    ),
    comfyui(
        "an ancestral sampler", nodes(n3={"sampler_name": "euler_ancestral"}), sampler="Euler a", noise_source="comfyui"
    ),
    comfyui(
        "ddim is Euler there", nodes(n3={"sampler_name": "ddim", "scheduler": "sgm_uniform"}), schedule="sgm-uniform"
    ),
    comfyui(
        "heun, exponential",
        nodes(n3={"sampler_name": "heun", "scheduler": "exponential"}),
        sampler="Heun",
        schedule="exponential",
    ),
    comfyui("a seed of 64 bits", nodes(n3={"seed": 156680208700286}), seed=4096709502),
    comfyui(
        "a seed of 64 bits, and noise at the steps",
        nodes(n3={"seed": 156680208700286, "sampler_name": "dpm_2_ancestral", "scheduler": "karras"}),
        seed=4096709502,
        eta_seed_offset=156676111990784,
        sampler="DPM2 a",
        schedule="karras",
        noise_source="comfyui",
    ),
    comfyui(
        "adapters, one of the model alone",
        nodes(
            n3={"model": ["11", 0]},
            n6={"clip": ["10", 1]},
            n7={"clip": ["10", 1]},
            n10=(
                "LoraLoader",
                {
                    "lora_name": "ink\\old.safetensors",
                    "strength_model": 0.8,
                    "strength_clip": 0.5,
                    "model": ["4", 0],
                    "clip": ["4", 1],
                },
            ),
            n11=("LoraLoaderModelOnly", {"lora_name": "few.safetensors", "strength_model": 1.0, "model": ["10", 0]}),
        ),
        adapters=(
            {"name": "ink/old", "weight": 0.8, "text_encoder_weight": 0.5},
            {"name": "few", "weight": 1.0, "text_encoder_weight": 0.0},
        ),
    ),
    comfyui(
        "an adapter that the text encoder goes round",
        nodes(
            n3={"model": ["10", 0]},
            n10=(
                "LoraLoader",
                {
                    "lora_name": "ink.safetensors",
                    "strength_model": 0.8,
                    "strength_clip": 0.5,
                    "model": ["4", 0],
                    "clip": ["4", 1],
                },
            ),
        ),
        adapters=({"name": "ink", "weight": 0.8, "text_encoder_weight": 0.0},),
    ),
    comfyui(
        "clip skip",
        nodes(
            n6={"clip": ["10", 0]},
            n7={"clip": ["10", 0]},
            n10=("CLIPSetLastLayer", {"stop_at_clip_layer": -2, "clip": ["4", 1]}),
        ),
        clip_skip=2,
    ),
    comfyui(
        "each prompt with a node of its own for the same clip skip, of two the nearer",
        nodes(
            n6={"clip": ["10", 0]},
            n7={"clip": ["12", 0]},
            n10=("CLIPSetLastLayer", {"stop_at_clip_layer": -2, "clip": ["11", 0]}),
            n11=("CLIPSetLastLayer", {"stop_at_clip_layer": -4, "clip": ["4", 1]}),
            n12=("CLIPSetLastLayer", {"stop_at_clip_layer": -2, "clip": ["4", 1]}),
        ),
        clip_skip=2,
    ),
    comfyui(
        "an encoder of a negative prompt that nobody reads",
        nodes(
            n3={"cfg": 1},
            n7={"clip": ["10", 0], "text": "blurry"},
            n10=("CLIPSetLastLayer", {"stop_at_clip_layer": -2, "clip": ["4", 1]}),
        ),
        guidance=1.0,
    ),
    comfyui(
        "another VAE", nodes(n8={"vae": ["10", 0]}, n10=("VAELoader", {"vae_name": "vae-ft.safetensors"})), vae="vae-ft"
    ),
    comfyui(
        "the advanced sampler, whole",
        nodes(
            n3=(
                "KSamplerAdvanced",
                {
                    **{"add_noise": "enable", "noise_seed": 42, "steps": 20, "cfg": 7.0, "sampler_name": "lms"},
                    **{"scheduler": "karras", "start_at_step": 0, "end_at_step": 10000},
                    **{"return_with_leftover_noise": "disable", **_CUSTOM},
                },
            )
        ),
        sampler="LMS",
        schedule="karras",
    ),
    comfyui(
        "a custom sampler",
        nodes(
            n3=(
                "SamplerCustom",
                {"add_noise": True, "noise_seed": 42, "cfg": 7, "sampler": ["10", 0], "sigmas": ["11", 0], **_CUSTOM},
            ),
            n10=("KSamplerSelect", {"sampler_name": "dpmpp_2m"}),
            n11=_BASIC,
        ),
        sampler="DPM++ 2M",
        schedule="karras",
    ),
    comfyui(
        "levels of a node of their own",
        nodes(
            n3=(
                "SamplerCustom",
                {"add_noise": True, "noise_seed": 42, "cfg": 7, "sampler": ["10", 0], "sigmas": ["11", 0], **_CUSTOM},
            ),
            n10=("KSamplerSelect", {"sampler_name": "dpmpp_2m"}),
            n11=("KarrasScheduler", {"steps": 20, "sigma_max": 14.614642, "sigma_min": 0.0291675, "rho": 7.0}),
        ),
        sampler="DPM++ 2M",
        schedule="karras",
    ),
    comfyui(
        "an advanced custom sampler",
        nodes(
            n3=(
                "SamplerCustomAdvanced",
                {
                    "noise": ["12", 0],
                    "guider": ["13", 0],
                    "sampler": ["10", 0],
                    "sigmas": ["11", 0],
                    "latent_image": ["5", 0],
                },
            ),
            n10=_SDE,
            n11=_BASIC,
            n12=("RandomNoise", {"noise_seed": 42}),
            n13=("CFGGuider", {"cfg": 7.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0]}),
        ),
        sampler="Euler a",
        schedule="karras",
        eta=0.5,
        s_noise=1.0,
        noise_source="comfyui",
    ),
    comfyui("Flux, guided as it was distilled", _FLUX, schedule="simple", guidance=3.5),
    comfyui(
        "SDXL is told of sizes",
        nodes(
            n6=(
                "CLIPTextEncodeSDXL",
                {
                    **{
                        "width": 1024,
                        "height": 2048,
                        "crop_w": 8,
                        "crop_h": 16,
                        "target_width": 512,
                        "target_height": 768,
                    },
                    **{"text_g": "a cat", "text_l": "a cat", "clip": ["4", 1]},
                },
            )
        ),
        arguments={"original_size": [2048, 1024], "crops_coords_top_left": [16, 8], "target_size": [768, 512]},
    ),
    comfyui(
        "texts and numbers in nodes of their own",
        nodes(
            n6={"text": ["20", 0]},
            n20=("PrimitiveString", {"value": "a cat"}),
            n3={"seed": ["21", 0]},
            n21=("PrimitiveInt", {"value": 42}),
        ),
    ),
    comfyui(
        "dynamic thresholding",
        nodes(
            n3={"model": ["20", 0]},
            n20=("DynamicThresholdingSimple", {"mimic_scale": 4.0, "threshold_percentile": 0.9, "model": ["4", 0]}),
        ),
        dynamic_thresholding={"mimic_scale": 4.0, "percentile": 0.9},
    ),
    comfyui(
        "a second pass",
        nodes(
            n8={"samples": ["20", 0]},
            n20=("KSampler", {**GRAPH["3"]["inputs"], "latent_image": ["21", 0], "steps": 10, "denoise": 0.5}),
            n21=("LatentUpscaleBy", {"samples": ["3", 0], "upscale_method": "nearest-exact", "scale_by": 1.5}),
        ),
        hires={
            **{"scale": 1.5, "upscaler": "latent-nearest-exact", "steps": 10, "guidance": 7.0, "strength": 0.5},
            **{"sampler": "Euler", "schedule": "uniform"},
        },
    ),
    comfyui(
        "a second pass of a size",
        nodes(
            n8={"samples": ["20", 0]},
            n20=(
                "KSampler",
                {**GRAPH["3"]["inputs"], "latent_image": ["21", 0], "sampler_name": "heun", "denoise": 0.5},
            ),
            n21=(
                "LatentUpscale",
                {"samples": ["3", 0], "upscale_method": "bilinear", "width": 1024, "height": 1536, "crop": "disabled"},
            ),
        ),
        hires={
            **{"width": 1024, "height": 1536, "upscaler": "latent", "steps": 20, "guidance": 7.0, "strength": 0.5},
            **{"sampler": "Heun", "schedule": "uniform"},
        },
    ),
    comfyui("a base and its refiner", refined(), model=("base", None), steps=25, guidance=8.0, refiner=_REFINER),
    comfyui(
        "a refiner that is told of looks",
        refined(
            n15=("CLIPTextEncodeSDXLRefiner", {**_LOOKS, "ascore": 6.0, "text": "a cat"}),
            n16=("CLIPTextEncodeSDXLRefiner", {**_LOOKS, "ascore": 2.5, "text": ""}),
        ),
        model=("base", None),
        steps=25,
        guidance=8.0,
        refiner=_REFINER,
    ),
    comfyui("reroutes", nodes(n3={"model": ["20", 0]}, n20=("Reroute", {"": ["4", 0]}))),
    comfyui(
        "an embedding",
        nodes(n7={"text": "(embedding:bad-hands.pt:1.2), ugly"}),
        negative_prompt="(bad-hands:1.2), ugly",
    ),
    comfyui("a size of no whole latents", nodes(n5={"width": 510, "height": 775}), width=504, height=768),
    comfyui("guidance of one reads no negative prompt", nodes(n3={"cfg": 1}, n7={"text": "blurry"}), guidance=1.0),
    comfyui("a picture that is shown and not saved", nodes(n9=("PreviewImage", {"images": ["8", 0]}))),
    comfyui("a folder and a path of Windows", nodes(n4={"ckpt_name": "sd\\toy.ckpt"}), model=("sd/toy", None)),
)


def workflow(*, named: bool) -> dict[str, Any]:
    """The drawing of `GRAPH`, in the older form or in the newer one, which names the widgets."""
    sampler = ["seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"]
    rows = {
        3: (
            "KSampler",
            ["model", "positive", "negative", "latent_image"],
            [42, "randomize", 20, 7, "euler", "normal", 1],
            sampler,
        ),
        4: ("CheckpointLoaderSimple", [], ["toy.safetensors"], ["ckpt_name"]),
        5: ("EmptyLatentImage", [], [512, 768, 1], ["width", "height", "batch_size"]),
        6: ("CLIPTextEncode", ["clip"], ["a cat"], ["text"]),
        7: ("CLIPTextEncode", ["clip"], [""], ["text"]),
        8: ("VAEDecode", ["samples", "vae"], [], []),
        9: ("SaveImage", ["images"], ["ComfyUI"], ["filename_prefix"]),
        10: ("Note", [], ["nothing to run"], []),
    }
    links: list[list[Any]] = []
    drawn: list[dict[str, Any]] = []
    for number, (kind, inputs, values, widgets) in rows.items():
        slots: list[dict[str, Any]] = []
        for slot, name in enumerate(inputs):
            source, output = GRAPH[str(number)]["inputs"][name]
            links.append([len(links) + 1, int(source), output, number, slot, "*"])
            slots.append({"name": name, "type": "*", "link": len(links)})
        if named:
            slots += [{"name": name, "type": "*", "widget": {"name": name}, "link": None} for name in widgets]
        drawn.append({"id": number, "type": kind, "mode": 0, "inputs": slots, "widgets_values": values})
    return {"nodes": drawn, "links": links, "version": 0.4}


def changed_workflow() -> dict[str, Any]:
    """With a primitive that holds the seed, a bypassed node and a muted one."""
    drawing = workflow(named=False)
    by_id = {node["id"]: node for node in drawing["nodes"]}
    sampler = by_id[3]
    sampler["widgets_values"][0] = 7
    sampler["inputs"].append({"name": "seed", "type": "INT", "link": 50, "widget": {"name": "seed"}})
    drawing["nodes"] += [
        {"id": 20, "type": "PrimitiveNode", "mode": 0, "inputs": [], "widgets_values": [42, "fixed"]},
        {
            "id": 21,
            "type": "FreeU",
            "mode": 4,
            "inputs": [{"name": "model", "type": "MODEL", "link": 51}],
            "widgets_values": [1.1],
        },
        {"id": 22, "type": "SaveImage", "mode": 2, "inputs": [], "widgets_values": ["no"]},
    ]
    drawing["links"] += [[50, 20, 0, 3, 4, "INT"], [51, 4, 0, 21, 0, "MODEL"], [52, 21, 0, 3, 0, "MODEL"]]
    sampler["inputs"][0]["link"] = 52
    return drawing


def drawn(name: str, drawing: dict[str, Any]) -> Specimen:
    texts = ForeignTexts(workflow=json.dumps(drawing))
    return Specimen(name=name, program=COMFYUI, texts=texts, fields=COMFYUI_MEANT, model=("toy", None))


COMFYUI_WORKFLOWS = (
    drawn("a drawing, widgets in a row", workflow(named=False)),
    drawn("a drawing, widgets by name", workflow(named=True)),
    drawn("a drawing with a primitive, a bypassed and a muted node", changed_workflow()),
)

IMAGE = {"image": "first.png"}
MASKED = {**IMAGE, "inpaint": {"mask": "mask.png"}}


def given(fields: Mapping[str, Any], specimen: Specimen) -> Specimen:
    return replace(specimen, given=fields)


_PAINTED = nodes(
    n3={"latent_image": ["22", 0], "denoise": 0.5},
    n20=("LoadImage", {"image": "first.png", "upload": "image"}),
    n21=("VAEEncode", {"pixels": ["20", 0], "vae": ["4", 2]}),
    n22=("SetLatentNoiseMask", {"samples": ["21", 0], "mask": ["23", 0]}),
    n23=("LoadImageMask", {"image": "mask.png", "channel": "red"}),
)
WITH_PICTURES = (
    given(IMAGE, a1111("begun with a picture", "Denoising strength: 0.6", strength=0.6)),
    given(
        MASKED,
        a1111(
            "under a mask",
            "Denoising strength: 0.75, Mask blur: 4",
            strength=0.75,
            inpaint={"mask": "mask.png", "blur": 4.0},
        ),
    ),
    given(
        MASKED,
        a1111(
            "outside a mask, at its own size",
            "Denoising strength: 1, Mask mode: Inpaint not masked, Mask blur: 8, Inpaint area: Only masked, "
            "Masked area padding: 64, Masked content: fill",
            strength=1.0,
            inpaint={
                **{"mask": "mask.png", "invert": True, "blur": 8.0, "only_masked": True, "padding": 64},
                "fill": "blur",
            },
        ),
    ),
    given(
        MASKED,
        a1111(
            "noise under a mask",
            "Denoising strength: 1.0, Mask blur: 0, Masked content: latent noise",
            strength=1.0,
            inpaint={"mask": "mask.png", "blur": 0.0, "fill": "noise"},
        ),
    ),
    given(
        MASKED,
        a1111(
            "nothing under a mask",
            "Denoising strength: 1.0, Masked content: latent nothing",
            strength=1.0,
            inpaint={"mask": "mask.png", "fill": "zero"},
        ),
    ),
    given(
        IMAGE,
        comfyui(
            "begun with a picture",
            nodes(
                n3={"latent_image": ["21", 0], "denoise": 0.5},
                n20=("LoadImage", {"image": "first.png", "upload": "image"}),
                n21=("VAEEncode", {"pixels": ["20", 0], "vae": ["4", 2]}),
            ),
            without=("width", "height"),
            strength=0.5,
            steps=40,
        ),
    ),
    given(
        MASKED,
        comfyui(
            "under a mask",
            _PAINTED,
            without=("width", "height"),
            strength=0.5,
            steps=40,
            inpaint={"mask": "mask.png", "keep_outside": False},
        ),
    ),
)

LISTED = (
    given(
        IMAGE,
        a1111(
            "a mask that is not given",
            "Denoising strength: 0.75, Mask blur: 4",
            strength=0.75,
            left_out=("Mask blur",),
        ),
    ),
    a1111(
        "faces worked over",
        "ADetailer model: face_yolov8n.pt, ADetailer confidence: 0.3",
        left_out=("ADetailer model", "ADetailer confidence"),
    ),
    a1111(
        "an upscaler that is a network",
        "Denoising strength: 0.3, Hires upscale: 2, Hires upscaler: R-ESRGAN 4x+",
        hires={"strength": 0.3, "scale": 2.0, "upscaler": "lanczos"},
        left_out=("Hires upscaler",),
    ),
    a1111(
        "a sampler that is not here",
        first=PAIRS.replace("Euler a", "DPM adaptive"),
        without=("sampler", "schedule"),
        left_out=("Sampler", "Schedule type"),
    ),
    comfyui(
        "a node that is not known",
        nodes(n8={"samples": ["20", 0]}, n20=("LatentMagic", {"samples": ["3", 0], "power": 9})),
        left_out=("LatentMagic #20",),
    ),
)
"""What has no counterpart, and is named."""

CORPUS = (
    *AUTOMATIC1111_TEXTS,
    *OLDER_TEXTS,
    *FORGE_TEXTS,
    *SDNEXT_TEXTS,
    *OTHER_TEXTS,
    *COMFYUI_GRAPHS,
    *COMFYUI_WORKFLOWS,
    *WITH_PICTURES,
    *LISTED,
)

_ON_ONE = {"lora_name": "ink.pt", "strength_model": 0.8, "strength_clip": 0.5, "model": ["4", 0], "clip": ["4", 1]}
_SKIPPING = ("CLIPSetLastLayer", {"stop_at_clip_layer": -2, "clip": ["4", 1]})
_OTHER_ENCODER = ("text encoder of the negative prompt",)
UNLIKE = (
    comfyui(
        "clip skip of the prompt alone",
        nodes(n6={"clip": ["10", 0]}, n10=_SKIPPING),
        clip_skip=2,
        left_out=_OTHER_ENCODER,
    ),
    comfyui(
        "clip skip of the negative prompt alone",
        nodes(n7={"clip": ["10", 0]}, n10=_SKIPPING),
        left_out=_OTHER_ENCODER,
    ),
    comfyui(
        "an adapter on the text encoder of the prompt alone",
        nodes(n3={"model": ["10", 0]}, n6={"clip": ["10", 1]}, n10=("LoraLoader", _ON_ONE)),
        adapters=({"name": "ink", "weight": 0.8, "text_encoder_weight": 0.5},),
        left_out=_OTHER_ENCODER,
    ),
    comfyui(
        "an adapter on the text encoder of the negative prompt alone",
        nodes(n3={"model": ["10", 0]}, n7={"clip": ["10", 1]}, n10=("LoraLoader", _ON_ONE)),
        adapters=({"name": "ink", "weight": 0.8, "text_encoder_weight": 0.0},),
        left_out=_OTHER_ENCODER,
    ),
    comfyui(
        "a node that hands on both prompts",
        nodes(
            n3={"positive": ["10", 0], "negative": ["10", 1]},
            n7={"text": "blurry"},
            n10=("ControlNetApplyAdvanced", {"positive": ["6", 0], "negative": ["7", 0], "strength": 1.0}),
        ),
        negative_prompt="blurry",
        left_out=("ControlNetApplyAdvanced #10",),
    ),
    comfyui(
        "names and numbers that nodes make which are not known",
        nodes(
            n3={"seed": ["50", 0], "sampler_name": ["50", 1], "scheduler": "karras"},
            n4={"ckpt_name": ["4", 0]},
            n8={"vae": ["10", 0]},
            n10=("VAELoader", {"vae_name": ["50", 2]}),
        ),
        without=("seed", "sampler", "schedule", "sgm_noise_multiplier"),
        model=None,
        left_out=(
            *("KSampler #3.sampler_name", "KSampler #3.scheduler", "KSampler #3.seed"),
            *("CheckpointLoaderSimple #4.ckpt_name", "VAELoader #10.vae_name"),
        ),
    ),
    comfyui(
        "guidance that is not known, and a negative prompt that it may need",
        nodes(n3={"cfg": ["50", 0]}, n7={"text": "blurry"}),
        without=("guidance",),
        negative_prompt="blurry",
        left_out=("KSampler #3.cfg",),
    ),
)
"""Graphs made to ask for what a request cannot: every one of them is told, and none counts in the corpus."""
