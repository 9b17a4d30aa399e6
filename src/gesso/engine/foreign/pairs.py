"""The pairs of AUTOMATIC1111, of Forge, and of what writes as they do."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gesso.core.requests import MAX_SEED, MAX_STEPS, NoiseSource, PromptDialect, Weighting
from gesso.engine.foreign.hires import carry_hires
from gesso.engine.foreign.numbers import LATENT_PX, Reader, between, flag, number, seed, size, whole
from gesso.engine.foreign.origin import Origin
from gesso.engine.foreign.refiner import carry_refiner
from gesso.engine.foreign.samplers import of_automatic1111
from gesso.engine.foreign.values import BEGUN, MASKED, Ledger, NamedModel, Program
from gesso.engine.infotext import DENOISING, EMPHASIS, TILINGS, Infotext

_WEIGHTED = re.compile(r"(?<!\\)[(\[]")


_FAMILY = frozenset({Program.AUTOMATIC1111, Program.FORGE})


def carry(text: Infotext, origin: Origin, ledger: Ledger) -> NamedModel | None:
    """Enter every pair of `text`, and what the program means without writing it. Returns the model that it names."""
    pairs = dict(text.pairs)
    carry_prompts(text, ledger)
    _carry_sampler(pairs, origin, ledger)
    if (distilled := pairs.pop("Distilled CFG Scale", None)) is not None:
        _carry_distilled(distilled, pairs.pop("CFG scale", None), ledger)
    carry_hires(pairs, ledger)
    carry_refiner(pairs, origin, ledger)
    for key, value in pairs.items():
        carry_pair(key, value, pairs, ledger)
    _imply(pairs, text, origin, ledger)
    return named_model(pairs)


def carry_rest(text: Infotext, ledger: Ledger) -> None:
    """Enter what is not among the pairs."""
    for key, value in text.templates.items():
        ledger.describe(key, value)
    for key, value in text.repeated:
        ledger.leave(key, value, "it is there twice, and the last counts")
    for rest in text.unread:
        ledger.leave("text between the fields", rest, "it is no field")


def carry_prompts(text: Infotext, ledger: Ledger) -> None:
    """Enter the two prompts."""
    ledger.carry("Prompt", text.prompt, prompt=text.prompt)
    if text.negative_prompt:
        ledger.carry("Negative prompt", text.negative_prompt, negative_prompt=text.negative_prompt)


def has_weights(text: Infotext) -> bool:
    """Whether a bracket of the two prompts may give a weight."""
    return bool(_WEIGHTED.search(f"{text.prompt}\n{text.negative_prompt}"))


def named_model(pairs: Mapping[str, str]) -> NamedModel | None:
    """`Model` and `Model hash`."""
    name, digest = pairs.get("Model"), pairs.get("Model hash")
    return None if name is None and digest is None else NamedModel(name=name, hash_=digest)


def _carry_sampler(pairs: dict[str, str], origin: Origin, ledger: Ledger) -> None:
    """Takes both of their keys out of `pairs`."""
    name, schedule = pairs.pop("Sampler", None), pairs.pop("Schedule type", None)
    if name is None:
        if schedule is not None:
            ledger.leave("Schedule type", schedule, "there is no sampler for it")
        return
    try:
        rule = of_automatic1111(name, schedule, says_schedules=origin.says_schedules)
    except ValueError as error:
        ledger.leave("Sampler", name, f"{error}; `--sampler` chooses one of `gesso samplers`")
        if schedule is not None:
            ledger.leave("Schedule type", schedule, "its sampler is not here")
        return
    ledger.carry("Sampler", name, rule.note, sampler=rule.sampler)
    if rule.lost:
        ledger.leave("Schedule type", schedule or name, f"{rule.lost}; `--schedule` chooses another")
    elif schedule is None:
        ledger.imply("Schedule type", rule.schedule, schedule=rule.schedule)
    else:
        ledger.carry("Schedule type", schedule, schedule=rule.schedule)


def _carry_distilled(distilled: str, second: str | None, ledger: Ledger) -> None:
    """Guidance that a model was trained with, and a second one by the negative prompt, which 1 is none of."""
    for key, value in (("Distilled CFG Scale", distilled), ("CFG scale", second)):
        if value is None:
            continue
        try:
            scale = between(number, 0, 1000)(value)
        except ValueError as error:
            ledger.leave(key, value, str(error))
            continue
        if key != "CFG scale":
            ledger.carry(key, value, guidance=scale)
        elif scale == 1:
            ledger.describe(key, value)
        else:
            ledger.carry(key, value, arguments={"true_cfg_scale": scale})


def carry_pair(key: str, value: str, pairs: Mapping[str, str], ledger: Ledger) -> None:
    """Enter one pair, whose meaning does not hang on the program. `pairs`: all of them."""
    if key in _DESCRIBING or _DESCRIBING_TOO.match(key) or (key, value.lower()) in _USUAL:
        ledger.describe(key, value)
        return
    rule = _RULES.get(key)
    if rule is None:
        ledger.leave(key, value, _why(key, pairs))
        return
    try:
        found = rule(value)
    except ValueError as error:
        ledger.leave(key, value, str(error))
        return
    ledger.carry(key, value, found.note, **found.fields)


def _imply(pairs: Mapping[str, str], text: Infotext, origin: Origin, ledger: Ledger) -> None:
    """What the program means where it writes nothing."""
    if origin.program in _FAMILY:
        if "RNG" not in pairs:
            ledger.imply("RNG", "GPU", origin.note, noise_source=NoiseSource.NV)
        ledger.imply("prompt language", "AUTOMATIC1111's", dialect=PromptDialect.A1111)
        if "Emphasis" not in pairs and has_weights(text):
            ledger.imply("Emphasis", "Original", weighting=Weighting.ORIGINAL)
    elif origin.program is Program.COMFYUI:  # a node that writes this text
        if "RNG" not in pairs:
            ledger.imply("noise", "CPU", noise_source=NoiseSource.CPU)
        ledger.imply("prompt language", "ComfyUI's", dialect=PromptDialect.COMFYUI)
    else:  # whose language is not known; in Gesso's own there could be something to choose
        ledger.imply("choices of the prompt", "made already", dynamic=False)


# --- what a pair becomes


@dataclass(frozen=True)
class _Became:
    fields: Mapping[str, Any]
    note: str = ""


_Rule = Callable[[str], _Became]


def _is(name: str, read: Reader) -> _Rule:
    return lambda text: _Became({name: read(text)})


def _size(text: str) -> _Became:
    width, height = size(text)
    if min(width, height) < LATENT_PX:
        raise ValueError("it is smaller than a picture can be")
    whole_px = tuple(side // LATENT_PX * LATENT_PX for side in (width, height))
    rounded = "" if whole_px == (width, height) else f"it was rounded down to {whole_px[0]}x{whole_px[1]}"
    return _Became({"width": whole_px[0], "height": whole_px[1]}, rounded)


def _source(text: str) -> _Became:
    sources = {"GPU": NoiseSource.NV} | {source.upper(): source for source in NoiseSource}
    if text.upper() not in sources:
        raise ValueError("there is no such noise source")
    return _Became({"noise_source": sources[text.upper()]})


def _emphasis(text: str) -> _Became:
    rules = {name: rule for rule, name in EMPHASIS.items()} | {"Original": Weighting.ORIGINAL}
    if text not in rules:
        raise ValueError("there is no such rule for weights")
    return _Became({"weighting": rules[text]})


def _churn_limit(text: str) -> _Became:
    """`inf` is no limit."""
    return _Became({"s_tmax": 0.0 if text.lower() in {"inf", "infinity"} else between(number, 0, 10_000)(text)})


def _tiling(text: str) -> _Became:
    """The key alone says it too."""
    axes = next((axes for axes, name in TILINGS.items() if text in {name, "Tiling"}), None)
    if axes is None:
        raise ValueError("there is no such way to meet")
    return _Became({"tiling": axes})


def _vae(text: str) -> _Became:
    return _Became({"vae": text})


_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "Steps": _is("steps", between(whole, 1, MAX_STEPS)),
        "CFG scale": _is("guidance", between(number, 0, 1000)),
        "CFG rescale": _is("guidance_rescale", between(number, 0, 1)),
        "CFG start": _is("guidance_start", between(number, 0, 1)),
        "CFG end": _is("guidance_stop", between(number, 0, 1)),
        "Skip Early CFG": _is("guidance_start", between(number, 0, 1)),
        "Seed": _is("seed", seed),
        "Size": _size,
        "Clip skip": _is("clip_skip", between(whole, 1, 12)),
        "ENSD": _is("eta_seed_offset", between(whole, 0, MAX_SEED)),
        "RNG": _source,
        "Variation seed": _is("variation_seed", seed),
        "Variation seed strength": _is("variation_strength", between(number, 0, 1)),
        "Eta": _is("eta", between(number, 0, 1)),
        "Eta DDIM": _is("eta", between(number, 0, 1)),
        "Sigma churn": _is("s_churn", between(number, 0, 10_000)),
        "Sigma tmin": _is("s_tmin", between(number, 0, 10_000)),
        "Sigma tmax": _churn_limit,
        "Sigma noise": _is("s_noise", between(number, 0, 2)),
        "SGM noise multiplier": _is("sgm_noise_multiplier", flag),
        "Emphasis": _emphasis,
        "VAE": _vae,
        "Tiling": _tiling,
    }
)

_DESCRIBING = frozenset(
    {
        *("Version", "App", "User", "Model", "Model hash", "VAE hash", "Lora hashes", "TI hashes", "Hashes"),
        *("Batch size", "Batch pos", "Created Date", "Civitai resources", "Civitai metadata", "Styles"),
        *("Wildcard prompt", "Wildcard negative prompt", "ADetailer version", "Diffusion in Low Bits", "Pad conds"),
    }
)
"""Keys that shape nothing, or whose meaning others have: names and hashes find models; styles are in the prompt."""
_DESCRIBING_TOO = re.compile(r"(AddNet|Lora|LoRA) (Hash|hash)")
_USUAL = frozenset(
    {
        ("Tiling", "false"),
        ("Face restoration", "none"),
        ("Hires resize", "0x0"),
        ("First pass size", "0x0"),
        ("Schedule max sigma", "0.0"),
        ("Schedule min sigma", "0.0"),
        ("Schedule rho", "0.0"),
        ("Schedule rho", "7.0"),
        ("Discard penultimate sigma", "false"),
        ("FP8 weight", "disable"),
        ("Old prompt editing timelines", "false"),
        ("VAE Encoder", "full"),
        ("VAE Decoder", "full"),
        ("Noise Schedule", "default"),
        ("Noise multiplier", "1.0"),
        ("UniPC variant", "bh1"),
        ("UniPC skip type", "time_uniform"),
        ("UniPC order", "3"),
        ("UniPC lower order final", "true"),
        ("NGMS", "0.0"),
        ("Skip Early CFG", "0.0"),
        ("Token merging ratio", "0.0"),
        ("VAE", "automatic"),
        ("VAE", "none"),
    }
)
"""What is so anyway."""

_WHY: tuple[tuple[str, str], ...] = (
    (r"ADetailer|Detailer|Face restoration|GFPGAN|CodeFormer", "faces are not worked over"),
    (r"ControlNet|T2I", "control pictures are not in the file"),
    (
        r"Hires|First pass|Latent upscale",
        "a second pass is not made",
    ),
    (r"Refiner", "its refiner has prompts and steps of its own"),
    (r"Mask (mode|blur)|Masked (area|content)|Inpaint area", MASKED),
    (r"Conditional mask|Soft inpainting|Mask weight", "it has no counterpart here"),
    (r"Init image|Image CFG|Resize|Extra noise|Noise multiplier", BEGUN),
    (r"Token merging|ToMe|ToDo|HyperTile|Hypertile", "every token is computed here"),
    (r"Module \d|TE\b", "text encoders and VAE are the model's own; `--part` and `--vae` set others"),
    (r"Seed resize", "the noise of another size is not placed in this one"),
    (r"Postprocess|Upscale|SD upscale", "what was done to the finished picture is not done again"),
    (
        r"Script|X Type|Y Type|Z Type|X Values|Y Values|Z Values|Fixed",
        "a picture of a series is made by its own values",
    ),
    (r"Hypernet", "hypernetworks are not applied"),
    (r"Dynamic thresholding|Mimic|Threshold percentile|CFG (mode|scale min)", "there it is of the denoised picture"),
    (r"Separate Feature|Scaling Startpoint|Variability|Interpolate Phi", "there it is of the denoised picture"),
    (r"AddNet", "an adapter is named in the prompt or with `--lora`"),
)


def _why(key: str, pairs: Mapping[str, str]) -> str:
    if key == DENOISING:
        hires = any(other.startswith(("Hires", "First pass")) for other in pairs)
        return "a second pass is not made" if hires else BEGUN
    for pattern, why in _WHY:
        if re.match(pattern, key):
            return why
    return "it is not known here"
