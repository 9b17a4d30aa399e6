"""What the makers of a family say of it beside the weights: configs, schedulers and vocabularies, kept as data.

A single file has none of that. The figures are those of the published folders: CompVis/stable-diffusion-v1-4,
stabilityai/stable-diffusion-2-1, stable-diffusion-xl-base-1.0, stable-diffusion-xl-refiner-1.0,
stable-diffusion-3-medium-diffusers, black-forest-labs/FLUX.1-dev and FLUX.1-schnell.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "known"


@dataclass(frozen=True, kw_only=True)
class KnownPart:
    """One part of a pipeline as its makers published it."""

    library: str
    class_name: str
    config: Mapping[str, Any] = field(repr=False)
    vocabulary: str | None = None
    """Of a tokenizer: the name of its vocabulary."""


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """One family as a folder of it would be."""

    family: str
    pipeline: str
    tasks: Mapping[str, str]
    """Pipeline classes of its variants that do something else, by what they do."""
    options: Mapping[str, Any]
    """Init options of the pipeline."""
    absent: tuple[str, ...]
    """Parts that its folders name and leave out."""
    parts: Mapping[str, KnownPart]
    optional: frozenset[str]
    """Networks without which it makes pictures too."""
    prefixes: Mapping[str, tuple[str, ...]]
    """What stands before the names of each network's tensors in single files; the first is what Gesso writes."""


@cache
def known_models() -> Mapping[str, KnownModel]:
    """Every family that single files are read of."""
    models: dict[str, dict[str, Any]] = _read("models.json")
    return {
        family: KnownModel(
            family=family,
            pipeline=entry["pipeline"],
            tasks=entry["tasks"],
            options=entry["options"],
            absent=tuple(entry["absent"]),
            parts={name: known_part(kind) for name, kind in entry["parts"].items()},
            optional=frozenset(entry.get("optional", ())),
            prefixes={name: tuple(prefixes) for name, prefixes in entry["prefixes"].items()},
        )
        for family, entry in models.items()
    }


@cache
def known_part(kind: str) -> KnownPart:
    """The part of that name in `parts.json`."""
    entry = _parts()[kind]
    return KnownPart(
        library=entry["library"],
        class_name=entry["class"],
        config=entry["config"],
        vocabulary=entry.get("vocabulary"),
    )


def vocabulary_files(name: str) -> Mapping[str, bytes]:
    """The files of a vocabulary by name; none where the package has none of that name."""
    folder = _FOLDER / "vocabularies" / name
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*"))} if folder.is_dir() else {}


@cache
def _parts() -> Mapping[str, Any]:
    return _read("parts.json")


def _read(name: str) -> Any:
    return json.loads((_FOLDER / name).read_text(encoding="utf-8"))
