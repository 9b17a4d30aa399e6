"""Adapters that make a model need few steps, and how each wants to be sampled: data.

Such an adapter is useless, or burns, with the sampler, steps and guidance of its model; so it brings its own. It is
told by what its maker calls it: the name of the file or folder, or the title in its header.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FewStep:
    """One published kind of adapter."""

    name: str
    pattern: str
    """Of its name in lower case, `-` and blanks as `_`. A group `steps` holds their number."""
    families: tuple[str, ...]
    sampler: str | None
    """`None` is that of the model."""
    schedule: str | None = None
    steps: int
    """Where the name does not say."""
    guidance: float | None
    """1 is none; `None` is that of the model."""
    source: str


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """How a request with such an adapter is sampled where it does not say otherwise."""

    name: str
    sampler: str | None
    schedule: str | None
    steps: int
    guidance: float | None

    def told(self) -> str:
        """`LCM-LoRA: sampler LCM, 4 steps, guidance 1`."""
        schedule = f" {self.schedule}" if self.schedule else ""
        parts = [f"sampler {self.sampler}{schedule}" if self.sampler else "", f"{self.steps} steps"]
        parts.append(f"guidance {self.guidance:g}" if self.guidance is not None else "")
        return f"{self.name}: {', '.join(part for part in parts if part)}"


_STEPS = r"(?P<steps>\d+)_?steps?"
_DIFFUSION = ("sd1", "sd2", "sdxl")

FEW_STEP = (
    FewStep(
        name="LCM-LoRA",
        pattern=r"(?:^|_)lcm_?lora|lora_?lcm",
        families=_DIFFUSION,
        sampler="LCM",
        steps=4,
        guidance=1.0,
        source="https://huggingface.co/latent-consistency/lcm-lora-sdxl",
    ),
    FewStep(
        name="SDXL-Lightning",
        pattern=rf"sdxl_lightning(?:.*?{_STEPS})?",
        families=("sdxl",),
        sampler="Euler",
        schedule="simple",  # diffusers' trailing timesteps
        steps=4,
        guidance=1.0,
        source="https://huggingface.co/ByteDance/SDXL-Lightning",
    ),
    FewStep(
        name="Hyper-SD, with guidance",
        pattern=rf"hyper_?sd(?:15|xl)?(?:.*?{_STEPS}).*_cfg",
        families=("sd1", "sdxl"),
        sampler="Euler",  # which DDIM is, on the trailing timesteps that the card asks for
        schedule="simple",
        steps=8,
        guidance=5.0,
        source="https://huggingface.co/ByteDance/Hyper-SD",
    ),
    FewStep(
        name="Hyper-SD",
        pattern=rf"hyper_?sd(?:15|xl)(?:.*?{_STEPS})?",
        families=("sd1", "sdxl"),
        sampler="Euler",
        schedule="simple",
        steps=8,
        guidance=1.0,
        source="https://huggingface.co/ByteDance/Hyper-SD",
    ),
    FewStep(
        name="Hyper-SD for Flux.1 dev",
        pattern=rf"hyper_flux.*?{_STEPS}",
        families=("flux1",),
        sampler=None,
        steps=8,
        guidance=3.5,
        source="https://huggingface.co/ByteDance/Hyper-SD",
    ),
    FewStep(
        name="Flux.1 Turbo Alpha",
        pattern=r"flux\.?1_turbo_alpha",
        families=("flux1",),
        sampler=None,
        steps=8,
        guidance=3.5,
        source="https://huggingface.co/alimama-creative/FLUX.1-Turbo-Alpha",
    ),
    FewStep(
        name="DMD2",
        pattern=rf"dmd2?_sdxl(?:.*?{_STEPS})?",
        families=("sdxl",),
        sampler="LCM",
        steps=4,
        guidance=1.0,
        source="https://huggingface.co/tianweiy/DMD2",
    ),
    FewStep(
        name="TCD-LoRA",
        pattern=r"(?:^|_)tcd_(?:sd15|sd21|sdxl)|tcd_?lora",
        families=_DIFFUSION,
        sampler="TCD",
        steps=4,
        guidance=1.0,
        source="https://huggingface.co/h1t/TCD-SDXL-LoRA",
    ),
)
"""In this order: the first whose pattern is found. Steps and guidance are those of the model cards named as source."""


def few_step(names: Iterable[str], families: Iterable[str]) -> Sampled | None:
    """How an adapter wants to be sampled; `None` for one that says nothing of it.

    Args:
        names: what it is called: file, folder, title.
        families: models that it is known to fit; none are known of some.
    """
    known = set(families)
    for kind in FEW_STEP:
        if known and known.isdisjoint(kind.families):
            continue
        for name in names:
            found = re.search(kind.pattern, re.sub(r"[\s-]+", "_", name.casefold()))
            if found is not None:
                told = found.groupdict().get("steps")
                return Sampled(
                    name=kind.name,
                    sampler=kind.sampler,
                    schedule=kind.schedule,
                    steps=int(told) if told else kind.steps,
                    guidance=kind.guidance,
                )
    return None
