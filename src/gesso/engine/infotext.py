"""The `parameters` text that AUTOMATIC1111 writes into pictures and that most other tools read.

    a cat, (hat:1.2)
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.0, Seed: 42, Size: 512x768, Model: toy, RNG: CPU

Prompt, negative prompt if there is one, then one line of pairs. A value with `,`, `:` or a line break is a JSON string.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gesso.core.adapter_text import adapter_text
from gesso.core.recipe import Recipe
from gesso.core.requests import Fill, ResolvedImageRequest, Tiling, Weighting
from gesso.engine.hires.upscalers import UPSCALERS
from gesso.engine.samplers.table import AUTOMATIC, DEFAULT, SAMPLERS, schedule_label
from gesso.models.tasks import INSTRUCTED

NEGATIVE = "Negative prompt:"
HASH_DIGITS = 10
"""Of a weights digest, as AUTOMATIC1111 shortens it."""

_KEY = re.compile(r"\s*(\w[\w \-/]+)(:?)\s*")
_FEWEST_PAIRS = 3
"""A last line with fewer pairs is part of the text."""

_JSON = ('"', "[", "{")
_MOST_BROKEN = 50
"""Values that begin as JSON and are none cost the length of the line each; after so many nothing is taken for JSON."""
_FIRST_PAIR = "Steps: "
DENOISING = "Denoising strength"
"""How much may change of what a pass begins with."""
SDNEXT = "SD.Next"
"""What it calls itself, under `App`."""
_TEMPLATES = frozenset({"Template", "Negative template", "Negative Template"})

EMPHASIS = {Weighting.NO_NORM: "No norm", Weighting.IGNORE: "Ignore"}
"""What AUTOMATIC1111 calls rules for weights other than its usual one."""

FILLS = {Fill.BLUR: "fill", Fill.NOISE: "latent noise", Fill.ZERO: "latent nothing"}
"""What AUTOMATIC1111 calls them, where it is not what is usual there."""

TILINGS = {Tiling.BOTH: "True", Tiling.X: "x", Tiling.Y: "y"}
"""What they are called; AUTOMATIC1111 knows both axes only."""


@dataclass(frozen=True, kw_only=True)
class Infotext:
    """What a `parameters` text says. Values stay text, as they were written."""

    prompt: str
    negative_prompt: str
    pairs: Mapping[str, str] = field(default_factory=dict[str, str])
    """A key that stands alone is its own value. Of one that is there twice, the last."""
    repeated: tuple[tuple[str, str], ...] = ()
    """Keys that were there before with another value, and that value."""
    unread: tuple[str, ...] = ()
    """What stands between the pairs and is none."""
    templates: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the prompts were made from, where another line says so: `Template`, `Negative Template`."""


def write(recipe: Recipe) -> str:
    """The text for a picture. Keys, their order and the quoting are AUTOMATIC1111's."""
    resolved = recipe.resolved
    variation = resolved.for_image(recipe.run.index) if resolved.variation_strength else None
    automatic = resolved.schedule == AUTOMATIC
    own_scheduler = resolved.sampler == DEFAULT
    pairs: dict[str, Any] = {
        "Steps": resolved.steps,
        # A model's own scheduler has no name that another tool would know.
        "Sampler": None if own_scheduler else resolved.sampler,
        "Schedule type": None if own_scheduler and automatic else schedule_label(resolved.schedule),
        "CFG scale": float(resolved.guidance),
        "Seed": recipe.run.seed,
        "Size": f"{resolved.width}x{resolved.height}",
        "Model hash": _short_hash(recipe.run.fingerprint.weights),
        "Model": _model_name(resolved.model),
        **_vae_pairs(resolved),
        "Variation seed": variation and variation.variation_seed,
        "Variation seed strength": variation and variation.variation_strength,
        DENOISING: _denoising(resolved),
        "Clip skip": resolved.clip_skip if resolved.clip_skip > 1 else None,
        **_chance_pairs(resolved),
        "ENSD": resolved.eta_seed_offset or None,
        "RNG": resolved.noise_source.upper(),
        "CFG rescale": resolved.guidance_rescale or None,
        **_mask_pairs(resolved),
        **_hires_pairs(resolved),
        **_refiner_pairs(recipe),
        "Tiling": TILINGS.get(resolved.tiling) if resolved.tiling else None,
        "CFG start": resolved.guidance_start or None,
        "CFG end": resolved.guidance_stop if resolved.guidance_stop < 1 else None,
        **_adapter_pairs(resolved),
        "TI hashes": _embedding_hashes(resolved),
        "Emphasis": EMPHASIS.get(resolved.weighting),
        "Version": _version(recipe),
    }
    lines = [resolved.prompt]
    if resolved.negative_prompt:
        lines.append(f"{NEGATIVE} {resolved.negative_prompt}")
    lines.append(", ".join(_pair(key, value) for key, value in pairs.items() if value is not None))
    return "\n".join(lines).strip()


def parse(text: str) -> Infotext:
    """Read what any tool wrote as `parameters`. Never fails: what is not understood is prompt."""
    lines = text.replace("\r\n", "\n").strip().split("\n")
    place = _place_of_pairs(lines)
    found = _Found() if place is None else _read_pairs(lines[place])
    after = [] if place is None else lines[place + 1 :]
    before = lines if place is None else lines[:place]
    templates, unread = _split_templates(before, after, sdnext=found.pairs.get("App") == SDNEXT)
    prompt: list[str] = []
    negative: list[str] = []
    into = prompt
    for line in templates.rest:
        if into is prompt and line.startswith(NEGATIVE):
            into = negative
            line = line.removeprefix(NEGATIVE).strip()
        into.append(line)
    return Infotext(
        prompt="\n".join(prompt).strip(),
        negative_prompt="\n".join(negative).strip(),
        pairs=found.pairs,
        repeated=tuple(found.repeated),
        unread=(*found.unread, *unread),
        templates=templates.found,
    )


@dataclass
class _Found:
    """The line of pairs."""

    pairs: dict[str, str] = field(default_factory=dict[str, str])
    repeated: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    unread: list[str] = field(default_factory=list[str])


@dataclass
class _Templates:
    rest: list[str] = field(default_factory=list[str])
    found: dict[str, str] = field(default_factory=dict[str, str])


def _place_of_pairs(lines: list[str]) -> int | None:
    """The last line, unless it is text; then a line before it that begins as those of every tool do."""
    if _holds_pairs(lines[-1]):
        return len(lines) - 1
    begun = (place for place in reversed(range(len(lines))) if lines[place].startswith(_FIRST_PAIR))
    return next((place for place in begun if _holds_pairs(lines[place])), None)


def _holds_pairs(line: str) -> bool:
    return sum(value is not None for _, value in _pairs(line, [])) >= _FEWEST_PAIRS


def _read_pairs(line: str) -> _Found:
    found = _Found()
    for key, value in _pairs(line, found.unread):
        said = key if value is None else value
        if found.pairs.get(key, said) != said:
            found.repeated.append((key, found.pairs[key]))
        found.pairs[key] = said
    return found


def _split_templates(before: list[str], after: list[str], *, sdnext: bool) -> tuple[_Templates, list[str]]:
    """Lines about templates away from those of the prompts: SD.Next's before the pairs, Dynamic Prompts' after them.

    Those after the pairs that are none belong to nothing.
    """
    templates, unread = _Templates(), list[str]()
    negative = next((place for place, line in enumerate(before) if line.strip().startswith(NEGATIVE)), len(before))
    for place, line in enumerate(line.strip() for line in (*before, *after)):
        key, colon, value = line.partition(":")
        late = place >= len(before)
        if colon and key in _TEMPLATES and (late or (sdnext and place > negative)):
            templates.found[key] = value.strip()
        elif not late:
            templates.rest.append(line)
        elif line:
            unread.append(line)
    return templates, unread


def _pair(key: str, value: Any) -> str:
    text = str(value)
    if text == key:
        return key
    quoted = text.startswith('"') or any(mark in text for mark in ",:\n")
    return f"{key}: {json.dumps(text, ensure_ascii=False) if quoted else text}"


def _pairs(line: str, unread: list[str]) -> Iterator[tuple[str, str | None]]:
    """Each `key: value` and each `key` alone, separated by commas outside quotes; what is neither goes to `unread`."""
    position, broken = 0, 0
    while position < len(line):
        key = _KEY.match(line, position)
        begin = position
        found: tuple[str, str | None] | None = None
        if key is not None:
            position = key.end()
            if key[2]:
                decoded = _decoded(line, position) if broken < _MOST_BROKEN else None
                broken += decoded is None and line.startswith(_JSON, position)
                value, position = decoded or _plain(line, position)
                found = key[1].strip(), value
            elif position == len(line) or line[position] == ",":
                found = key[1].strip(), None
        comma = line.find(",", position)
        rest = line[position if found else begin : len(line) if comma < 0 else comma].strip()
        if rest:
            unread.append(rest)
        if found:
            yield found
        position = len(line) if comma < 0 else comma + 1


def _decoded(line: str, position: int) -> tuple[str, int] | None:
    """A string of JSON, and where it ends; some tools write other JSON as it is, whatever commas are in it."""
    if not line.startswith(_JSON, position):
        return None
    try:
        value, end = json.JSONDecoder().raw_decode(line, position)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, str):
        return value, end
    return (line[position:end], end) if line[end : end + 9].lstrip()[:1] in {"", ","} else None


def _plain(line: str, position: int) -> tuple[str, int]:
    end = line.find(",", position)
    end = len(line) if end < 0 else end
    return line[position:end].strip(), end


def _vae_pairs(resolved: ResolvedImageRequest) -> dict[str, Any]:
    """The VAE that the picture was decoded with, where it is not the model's own."""
    vae = resolved.vae_decoder
    return {} if vae is None else {"VAE hash": vae.sha256[:HASH_DIGITS], "VAE": _model_name(vae.name)}


def _chance_pairs(resolved: ResolvedImageRequest) -> dict[str, Any]:
    """What differs from the sampler's own."""
    sampler = SAMPLERS.get(resolved.sampler)
    own = sampler.diffusion.eta if sampler is not None and sampler.diffusion is not None else None
    return {
        "Eta DDIM" if resolved.sampler == "DDIM" else "Eta": resolved.eta if resolved.eta != own else None,
        "Sigma churn": resolved.s_churn or None,
        "Sigma tmin": resolved.s_tmin or None,
        "Sigma tmax": resolved.s_tmax or None,
        "Sigma noise": resolved.s_noise if resolved.s_noise != 1 else None,
        "SGM noise multiplier": resolved.sgm_noise_multiplier or None,
    }


def _denoising(resolved: ResolvedImageRequest) -> float | None:
    """Of the pass that begins with a picture: the second, or the one whose picture was given."""
    if resolved.hires is not None:
        return resolved.hires.strength
    noised = resolved.image is not None and resolved.pipeline not in INSTRUCTED
    return resolved.strength if noised else None


def _mask_pairs(resolved: ResolvedImageRequest) -> dict[str, Any]:
    """What may change of the picture that was given; what is usual there is left out."""
    inpaint = resolved.inpaint
    if inpaint is None:
        return {}
    return {
        "Mask mode": "Inpaint not masked" if inpaint.invert else None,
        "Mask blur": f"{inpaint.blur:g}" if inpaint.blur else None,
        "Inpaint area": "Only masked" if inpaint.only_masked else None,
        "Masked area padding": inpaint.padding if inpaint.only_masked else None,
        "Masked content": FILLS.get(inpaint.fill),
    }


def _hires_pairs(resolved: ResolvedImageRequest) -> dict[str, Any]:
    """The second pass, in AUTOMATIC1111's words where it has some; what is as in the first pass is left out."""
    hires = resolved.hires
    if hires is None:
        return {}
    scale = hires.width / resolved.width
    whole = (hires.width, hires.height) == (round(resolved.width * scale), round(resolved.height * scale))
    own_sampler = hires.sampler not in (resolved.sampler, DEFAULT)
    return {
        "Hires sampler": hires.sampler if own_sampler else None,
        "Hires schedule type": schedule_label(hires.schedule) if hires.schedule != resolved.schedule else None,
        "Hires CFG Scale": hires.guidance if hires.guidance != resolved.guidance else None,
        "Hires prompt": hires.prompt,
        "Hires negative prompt": hires.negative_prompt,
        "Hires upscale": round(scale, 4) if whole else None,
        "Hires resize": None if whole else f"{hires.width}x{hires.height}",
        "Hires steps": hires.steps if hires.steps != resolved.steps else None,
        "Hires upscaler": UPSCALERS[hires.upscaler].alias,
    }


def _refiner_pairs(recipe: Recipe) -> dict[str, Any]:
    """The name with the hash behind it, as AUTOMATIC1111 writes it."""
    refiner = recipe.resolved.refiner
    if refiner is None:
        return {}
    digest, name = _short_hash(recipe.run.fingerprint.refiner), _model_name(refiner.model)
    return {"Refiner": f"{name} [{digest}]" if digest else name, "Refiner switch at": refiner.at}


def _adapter_pairs(resolved: ResolvedImageRequest) -> dict[str, Any]:
    """The digests under the key by which sites know adapters; how they were applied is a word of ours."""
    if not resolved.adapters:
        return {}
    named = [
        (Path(adapter.name).stem if _is_path(adapter.name) else adapter.name, adapter) for adapter in resolved.adapters
    ]
    return {
        "Lora hashes": ", ".join(f"{name}: {adapter.sha256[:HASH_DIGITS]}" for name, adapter in named),
        "Adapters": " ".join(adapter_text(adapter, name=name) for name, adapter in named),
    }


def _embedding_hashes(resolved: ResolvedImageRequest) -> str | None:
    """Under the words, which are what the prompts say."""
    named = [f"{embedding.word}: {embedding.sha256[:HASH_DIGITS]}" for embedding in resolved.embeddings]
    return ", ".join(named) or None


def _short_hash(weights: str) -> str | None:
    kind, _, digest = weights.partition(":")
    return digest[:HASH_DIGITS] if kind == "sha256" and digest else None


def _model_name(model: str) -> str:
    """A hub id stays; of a path only the last part, for a picture is shown to people whom the rest does not concern."""
    return Path(model).name if _is_path(model) else model


def _is_path(name: str) -> bool:
    return Path(name).is_absolute() or "\\" in name or name.startswith((".", "~"))


def _version(recipe: Recipe) -> str | None:
    version = recipe.run.fingerprint.versions.get("gesso")
    return f"Gesso {version}" if version else None
