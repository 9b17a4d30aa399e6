"""Which files of a repository its pipeline needs: each network once, safetensors before pickles."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gesso.core.errors import SourceError
from gesso.models.folder import INDEX_FILE

_STEMS = {".safetensors": ("diffusion_pytorch_model", "model"), ".bin": ("diffusion_pytorch_model", "pytorch_model")}
_PREFERRED = ("fp16", "bf16")
"""Variants, where there are no plain weights."""
_TEXTS = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".vocab")
"""Configs, vocabularies and merges: small, and all of them are taken."""
_BESIDE = re.compile(r"(?:licen[cs]e|notice|readme)[\w.-]*", re.IGNORECASE)
_SHARD = r"(?:-\d{5}-of-\d{5})?"
_UNUSED = "safety_checker"
"""Its networks are loaded only where a setting asks for them."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Paths in the repository, and what was decided of them."""

    paths: tuple[str, ...]
    notes: tuple[str, ...]


def pipeline_files(
    paths: Iterable[str], index: Mapping[str, Any], *, variant: str | None, safety_checker: bool = False
) -> Chosen:
    """The files of the pipeline that `index`, its `model_index.json`, describes.

    Args:
        variant: weights to prefer, such as `fp16`; a network that has none of it comes as it is.

    Raises:
        SourceError: a network has no weights that are taken; or none at all comes in the variant.
    """
    known = sorted(paths)
    chosen = [path for path in known if path == INDEX_FILE or ("/" not in path and _BESIDE.fullmatch(path))]
    notes: list[str] = []
    variants: dict[str, str | None] = {}
    for part, (library, class_name) in _parts(index).items():
        inside = [path for path in known if path.startswith(f"{part}/") and path.count("/") == 1]
        if part == _UNUSED and not safety_checker:
            notes.append(f"`{part}` is left out: it is loaded only with the setting `safety_checker`")
            continue
        chosen += [path for path in inside if path.endswith(_TEXTS) and not _is_index(path)]
        weights = _weights(part, inside, library=library, variant=variant)
        if weights is not None:
            files, variants[part] = weights
            chosen += files
        elif any(path.endswith("/config.json") for path in inside) and _has_weights(inside):
            raise SourceError(f"The weights of `{part}` ({class_name}) have no form that is fetched")
    if variant is not None and variant not in variants.values():
        have = sorted({found for part in variants for found in _variants_of(part, known)})
        raise SourceError(
            f"There are no weights of the variant `{variant}`",
            hint=f"there are: {', '.join(have)}" if have else "leave `--variant` out: there are only plain ones",
        )
    lacking = sorted(part for part, found in variants.items() if variant is not None and found != variant)
    if lacking:
        notes.append(f"no `{variant}` weights of {', '.join(f'`{part}`' for part in lacking)}: they come as they are")
    return Chosen(paths=tuple(dict.fromkeys(chosen)), notes=tuple(notes))


def _parts(index: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for part, value in index.items():
        match value:
            case [str(library), str(class_name)] if not part.startswith("_"):
                found[part] = library, class_name
            case _:
                pass
    return found


def _weights(part: str, inside: list[str], *, library: str, variant: str | None) -> tuple[list[str], str | None] | None:
    """The files of one network and their variant: in the order in which a folder of them would be read."""
    for suffix, stems in _STEMS.items():
        others = [name for name in (*_PREFERRED, *sorted(_variants_of(part, inside))) if name != variant]
        for wanted in (*([variant] if variant else []), None, *others):
            for stem in stems:
                single = f"{part}/{stem}{f'.{wanted}' if wanted else ''}{suffix}"
                indices, shards = _sharded(part, inside, stem, suffix, wanted)
                both = (shards, [single]) if library == "diffusers" else ([single], shards)
                for files in both:
                    if files and all(file in inside for file in files):
                        return ([*indices, *files] if files is shards else files), wanted
    return None


def _sharded(part: str, inside: list[str], stem: str, suffix: str, variant: str | None) -> tuple[list[str], list[str]]:
    """The index and the shards. Both places are in use where a variant may be named, before and after the number."""
    mark = f".{variant}" if variant else ""
    names = {f"{part}/{stem}{mark}{suffix}.index.json", f"{part}/{stem}{suffix}.index{mark}.json"}
    indices = [path for path in inside if path in names]
    forms = {
        rf"{re.escape(stem)}{re.escape(mark)}-\d{{5}}-of-\d{{5}}",
        rf"{re.escape(stem)}-\d{{5}}-of-\d{{5}}{re.escape(mark)}",
    }
    pattern = re.compile(rf"{re.escape(part)}/(?:{'|'.join(sorted(forms))}){re.escape(suffix)}")
    shards = [path for path in inside if pattern.fullmatch(path)] if indices else []
    return indices, shards


def _variants_of(part: str, paths: list[str]) -> set[str]:
    stems = "|".join(sorted({stem for stems in _STEMS.values() for stem in stems}))
    pattern = re.compile(
        rf"{re.escape(part)}/(?:{stems})(?:\.([A-Za-z]\w*){_SHARD}|{_SHARD}\.([A-Za-z]\w*))\.(?:safetensors|bin)"
    )
    return {match[1] or match[2] for path in paths if (match := pattern.fullmatch(path)) is not None}


def _is_index(path: str) -> bool:
    return ".index." in path and path.endswith(".json")


def _has_weights(inside: list[str]) -> bool:
    return any(path.endswith((".safetensors", ".bin", ".msgpack", ".h5", ".onnx", ".gguf")) for path in inside)
