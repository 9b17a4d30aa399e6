"""Which files in a component's folder are its weights: the names that diffusers and transformers give them."""

import re
from dataclasses import dataclass
from pathlib import Path

from gesso.core.errors import ModelError
from gesso.models.weights import INDEX_SUFFIX, read_index

_STEMS = {".safetensors": ("diffusion_pytorch_model", "model"), ".bin": ("diffusion_pytorch_model", "pytorch_model")}
_PREFERRED_VARIANTS = ("fp16", "bf16")


@dataclass(frozen=True, kw_only=True)
class WeightFiles:
    """The weight files of one network: one file, or an index and its shards."""

    files: tuple[Path, ...]
    index: Path | None
    variant: str | None
    """`fp16` of `model.fp16.safetensors`; `None` for plain names."""

    @property
    def safe(self) -> bool:
        return all(path.suffix == ".safetensors" for path in self.files)


def find_weight_files(folder: Path, *, library: str) -> WeightFiles | None:
    """The weights that would be loaded: safetensors before pickles, plain names before variants, fp16 before others.

    Where both a single file and an index are there, the choice is that of `library`'s own `from_pretrained`.

    Raises:
        ModelError: an index names a file that is not there.
    """
    names = {path.name for path in folder.iterdir() if path.is_file()}
    for suffix, stems in _STEMS.items():
        for variant in (None, *_variants(names, suffix, stems)):
            for stem in stems:
                single = f"{stem}.{variant}{suffix}" if variant else f"{stem}{suffix}"
                index = f"{stem}{suffix}.index.{variant}.json" if variant else f"{stem}{suffix}{INDEX_SUFFIX}"
                order = (index, single) if library == "diffusers" else (single, index)
                chosen = next((name for name in order if name in names), None)
                if chosen == index:
                    return WeightFiles(files=_shards(folder / index), index=folder / index, variant=variant)
                if chosen is not None:
                    return WeightFiles(files=(folder / single,), index=None, variant=variant)
    return None


def _variants(names: set[str], suffix: str, stems: tuple[str, ...]) -> list[str]:
    pattern = re.compile(
        rf"(?:{'|'.join(stems)})(?:\.(\w+){re.escape(suffix)}|{re.escape(suffix)}\.index\.(\w+)\.json)"
    )
    found = {match[1] or match[2] for name in names if (match := pattern.fullmatch(name))}
    return [*(name for name in _PREFERRED_VARIANTS if name in found), *sorted(found - set(_PREFERRED_VARIANTS))]


def _shards(index: Path) -> tuple[Path, ...]:
    files = [index.parent / name for name in sorted(set(read_index(index).values()))]
    for path in files:
        if not path.is_file():
            raise ModelError(f"`{path}` is missing: `{index.name}` names it", hint="download or copy the file again")
    return tuple(files)
