"""What the maker of a file wrote into it: title, author, licence, trained words, the base of an adapter.

Keys: https://github.com/Stability-AI/ModelSpec (`modelspec.*`) and kohya-ss/sd-scripts (`ss_*`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from gesso.models.recognition.kinds import Conclusion

MAX_WORDS = 20
MAX_CHARACTERS = 300

_ARCHITECTURES = {
    "stable-diffusion-v1": "sd1",
    "stable-diffusion-v2": "sd2",
    "stable-diffusion-xl-v1-refiner": "sdxl-refiner",
    "stable-diffusion-xl": "sdxl",
    "stable-diffusion-3": "sd3",
    "flux-1": "flux1",
    "flux-2": "flux2",
    "flux.2": "flux2",
    "chroma": "chroma",
    "lumina-2": "lumina2",
    "qwen-image": "qwen-image",
    "z-image": "z-image",
}
"""How `modelspec.architecture` begins → family."""
_BASES = {
    "sd_v1": "sd1",
    "sd_1": "sd1",
    "sd_v2": "sd2",
    "sd_2": "sd2",
    "sdxl": "sdxl",
    "sd3": "sd3",
    "flux1": "flux1",
    "chroma": "chroma",
    "lumina2": "lumina2",
}
"""How `ss_base_model_version` begins → family."""


@dataclass(frozen=True, kw_only=True)
class MakersFacts:
    """Metadata that a person would ask for; `None` and empty where nothing is said."""

    title: str | None
    author: str | None
    license: str | None
    description: str | None
    trained_words: tuple[str, ...]
    base: str | None


def makers_facts(metadata: Mapping[str, str]) -> MakersFacts:
    """What `metadata` says."""

    def first(*keys: str) -> str | None:
        text = next((metadata[key].strip() for key in keys if metadata.get(key, "").strip()), None)
        return text[:MAX_CHARACTERS] if text else None

    return MakersFacts(
        title=first("modelspec.title", "ss_output_name", "general.name", "name"),
        author=first("modelspec.author", "general.author"),
        license=first("modelspec.license", "license", "general.license"),
        description=first("modelspec.description", "general.description"),
        trained_words=_words(metadata),
        base=first("ss_sd_model_name", "ss_base_model_version", "sd_checkpoint_name"),
    )


def family_said(metadata: Mapping[str, str]) -> Conclusion | None:
    """The family as the metadata says it, for where the structure does not."""
    for key, table in (("modelspec.architecture", _ARCHITECTURES), ("ss_base_model_version", _BASES)):
        said = metadata.get(key, "").strip().lower()
        family = next((family for start, family in table.items() if said.startswith(start)), None)
        if family is not None:
            return Conclusion(value=family, evidence=f"`{key}` is `{said[:MAX_CHARACTERS]}`")
    return None


def _words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The trigger phrase, else the captions' tags, the most frequent first."""
    phrase = metadata.get("modelspec.trigger_phrase", "").strip()
    if phrase:
        return tuple(word for part in phrase[:MAX_CHARACTERS].split(",") if (word := part.strip()))[:MAX_WORDS]
    counts: dict[str, float] = {}
    for tags in _objects(metadata.get("ss_tag_frequency", "")):
        for tag, count in tags.items():
            if isinstance(count, int | float):
                counts[tag.strip()] = counts.get(tag.strip(), 0) + count
    ordered = sorted(counts, key=lambda tag: -counts[tag])
    return tuple(tag[:MAX_CHARACTERS] for tag in ordered if tag)[:MAX_WORDS]


def _objects(text: str) -> list[dict[str, Any]]:
    """The objects in a JSON object: one for each folder of pictures."""
    try:
        folders = json.loads(text) if text else {}
    except (ValueError, RecursionError):  # somebody else's text: no words are no error
        return []
    values = cast("dict[str, Any]", folders).values() if isinstance(folders, dict) else ()
    return [cast("dict[str, Any]", value) for value in values if isinstance(value, dict)]
