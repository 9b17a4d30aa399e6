"""The `parameters` text that AUTOMATIC1111 writes into pictures and that most other tools read.

    a cat, (hat:1.2)
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.0, Seed: 42, Size: 512x768, Model: toy, RNG: CPU

Prompt, negative prompt if there is one, then one line of pairs. A value with `,`, `:` or a line break is a JSON string.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gesso.core.adapter_text import adapter_text
from gesso.core.recipe import Recipe
from gesso.core.requests import NoiseSource, PromptDialect, ResolvedImageRequest, Tiling, Weighting
from gesso.core.units import parse_size
from gesso.engine.samplers.table import AUTOMATIC, DEFAULT, SAMPLERS, schedule_label

NEGATIVE = "Negative prompt:"
HASH_DIGITS = 10
"""Of a weights digest, as AUTOMATIC1111 shortens it."""

_KEY = re.compile(r"\s*(\w[\w \-/]+)(:?)\s*")
_FEWEST_PAIRS = 3
"""A last line with fewer pairs is part of the text."""

_NOISE_SOURCES = {"CPU": NoiseSource.CPU, "NV": NoiseSource.NV, "GPU": NoiseSource.NV}
_AUTOMATIC1111 = re.compile(r"(f[\w.]*)?v\d")
"""Its versions, and those of Forge: `v1.10.1`, `f2.0.1v1.10.1`."""

_EMPHASIS = {Weighting.NO_NORM: "No norm", Weighting.IGNORE: "Ignore"}
"""What AUTOMATIC1111 calls rules for weights other than its usual one."""

_TILINGS = {Tiling.BOTH: "True", Tiling.X: "x", Tiling.Y: "y"}
"""AUTOMATIC1111 knows both axes only."""

_SDNEXT_KEYS = {
    "CLiP-skip": "Clip skip",
    "Variation strength": "Variation seed strength",
    "Mask weight": "Conditional mask weight",
}


@dataclass(frozen=True, kw_only=True)
class Infotext:
    """What a `parameters` text says. Values stay text, as they were written."""

    prompt: str
    negative_prompt: str
    pairs: Mapping[str, str] = field(default_factory=dict[str, str])

    def request_fields(self) -> dict[str, Any]:
        """Those fields of an `ImageRequest` that the text gives and that can be read as what they should be.

        The model is left out: its name means something on the machine that wrote it.
        """
        fields: dict[str, Any] = {"prompt": self.prompt, "negative_prompt": self.negative_prompt or None}
        kinds = {"Steps": ("steps", int), "Seed": ("seed", int), "CFG scale": ("guidance", float)}
        kinds |= {"Sampler": ("sampler", str), "Schedule type": ("schedule", str), "Clip skip": ("clip_skip", int)}
        kinds |= {"CFG rescale": ("guidance_rescale", float), "ENSD": ("eta_seed_offset", int)}
        kinds |= {"Variation seed": ("variation_seed", int), "Variation seed strength": ("variation_strength", float)}
        kinds |= {"Eta": ("eta", _finite), "Eta DDIM": ("eta", _finite), "Sigma churn": ("s_churn", _finite)}
        kinds |= {"Sigma tmin": ("s_tmin", _finite), "Sigma tmax": ("s_tmax", _finite)}
        kinds |= {"Sigma noise": ("s_noise", _finite)}
        kinds |= {"CFG start": ("guidance_start", _finite), "CFG end": ("guidance_stop", _finite)}
        for key, (name, kind) in kinds.items():
            value = _read(kind, self.pairs.get(key))
            if value is not None:
                fields[name] = value
        source = _NOISE_SOURCES.get(self.pairs.get("RNG", self._unwritten_source()).upper())
        if source is not None:
            fields["noise_source"] = source
        if _AUTOMATIC1111.match(self.pairs.get("Version", "")):
            fields["dialect"] = PromptDialect.A1111
        weighting = next((rule for rule, name in _EMPHASIS.items() if name == self.pairs.get("Emphasis")), None)
        if weighting is not None:
            fields["weighting"] = weighting
        tiling = next((axes for axes, name in _TILINGS.items() if name == self.pairs.get("Tiling")), None)
        if tiling is not None:
            fields["tiling"] = tiling
        size = _read(parse_size, self.pairs.get("Size"))
        if size is not None:
            fields["width"], fields["height"] = size
        return fields

    def _unwritten_source(self) -> str:
        """AUTOMATIC1111 and those that follow it leave the noise source out where it is the GPU."""
        return "GPU" if _AUTOMATIC1111.match(self.pairs.get("Version", "")) else ""


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
        "Clip skip": resolved.clip_skip if resolved.clip_skip > 1 else None,
        **_chance_pairs(resolved),
        "ENSD": resolved.eta_seed_offset or None,
        "RNG": resolved.noise_source.upper(),
        "CFG rescale": resolved.guidance_rescale or None,
        "Tiling": _TILINGS.get(resolved.tiling) if resolved.tiling else None,
        "CFG start": resolved.guidance_start or None,
        "CFG end": resolved.guidance_stop if resolved.guidance_stop < 1 else None,
        **_adapter_pairs(resolved),
        "TI hashes": _embedding_hashes(resolved),
        "Emphasis": _EMPHASIS.get(resolved.weighting),
        "Version": _version(recipe),
    }
    lines = [resolved.prompt]
    if resolved.negative_prompt:
        lines.append(f"{NEGATIVE} {resolved.negative_prompt}")
    lines.append(", ".join(_pair(key, value) for key, value in pairs.items() if value is not None))
    return "\n".join(lines).strip()


def parse(text: str) -> Infotext:
    """Read what any tool wrote as `parameters`. Never fails: what is not understood is prompt."""
    *lines, last = text.strip().split("\n")
    pairs = {key: key if value is None else value for key, value in _pairs(last)}
    if sum(value is not None for _, value in _pairs(last)) < _FEWEST_PAIRS:
        lines, pairs = [*lines, last], {}
    prompt: list[str] = []
    negative: list[str] = []
    into = prompt
    for line in (line.strip() for line in lines):
        if into is prompt and line.startswith(NEGATIVE):
            into = negative
            line = line.removeprefix(NEGATIVE).strip()
        into.append(line)
    pairs = {_SDNEXT_KEYS.get(key, key): value for key, value in pairs.items()}
    return Infotext(prompt="\n".join(prompt).strip(), negative_prompt="\n".join(negative).strip(), pairs=pairs)


def _pair(key: str, value: Any) -> str:
    text = str(value)
    if text == key:
        return key
    quoted = text.startswith('"') or any(mark in text for mark in ",:\n")
    return f"{key}: {json.dumps(text, ensure_ascii=False) if quoted else text}"


def _pairs(line: str) -> Iterator[tuple[str, str | None]]:
    """Each `key: value` and each `key` alone, separated by commas outside quotes; what is neither is passed over."""
    position = 0
    while position < len(line):
        key = _KEY.match(line, position)
        if key is not None:
            position = key.end()
            if key[2]:
                value, position = _value(line, position)
                yield key[1].strip(), value
            elif position == len(line) or line[position] == ",":
                yield key[1].strip(), None
        comma = line.find(",", position)
        position = len(line) if comma < 0 else comma + 1


def _value(line: str, position: int) -> tuple[str, int]:
    if line.startswith('"', position):
        try:
            value, end = json.JSONDecoder().raw_decode(line, position)
        except ValueError:
            pass
        else:
            return str(value), end
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
    }


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


def _finite(text: str) -> float:
    """A number; AUTOMATIC1111 writes `inf` where there is no limit."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _read(kind: Any, text: str | None) -> Any:
    try:
        return None if text is None else kind(text)
    except ValueError:
        return None


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
