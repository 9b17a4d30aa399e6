"""Model folders with random weights: as large as the released ones, or thin, and made on the spot."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from gesso.models.folder import INDEX_FILE, ComponentDescription
from gesso.models.headers.base import TensorShape
from gesso.models.network import tensor_shapes
from gesso.models.single_files.convert.safetensors import in_order, write_safetensors
from gesso.models.single_files.known_models import KnownPart, known_models, vocabulary_files

_CHUNK_VALUES = 2**22
_FINITE = np.uint16(0xBFFF)
"""Without the highest bit of the exponent, so that every value of a float16 is a number, and below 2."""

Changes = Mapping[str, Mapping[str, Any]]
"""Part → what differs in its config."""


def write_random_folder(
    family: str,
    folder: Path,
    *,
    changes: Changes = MappingProxyType({}),
    dtype: Literal["F16", "F32"] = "F16",
    seed: int = 0,
) -> Path:
    """Write the folder of a family that single files are read of."""
    known = known_models()[family]
    index: dict[str, Any] = {"_class_name": known.pipeline, **known.options}
    index |= {name: [None, None] for name in known.absent}
    for number, (name, part) in enumerate(known.parts.items()):
        index[name] = [part.library, part.class_name]
        config = {**part.config, **changes.get(name, {})}
        (folder / name).mkdir(parents=True)
        for file, content in _small_files(name, part, config).items():
            (folder / name / file).write_bytes(content)
        if name in known.prefixes:
            _write_weights(folder / name, name, part, dtype, np.random.default_rng((seed, number)))
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=2))
    return folder


def shapes_of(part: KnownPart, name: str, folder: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a network whose config lies in `folder`."""
    return tensor_shapes(
        ComponentDescription(
            name=name, library=part.library, class_name=part.class_name, folder=folder, config=part.config, role=None
        )
    )


def _small_files(name: str, part: KnownPart, config: Mapping[str, Any]) -> dict[str, bytes]:
    text = json.dumps({"_class_name": part.class_name, **config} if part.library == "diffusers" else config).encode()
    if part.vocabulary is not None:
        return {**vocabulary_files(part.vocabulary), "tokenizer_config.json": text}
    return {"scheduler_config.json" if name == "scheduler" else "config.json": text}


def _write_weights(folder: Path, name: str, part: KnownPart, dtype: str, chance: np.random.Generator) -> None:
    tensors = {key: TensorShape(dtype=dtype, shape=shape) for key, shape in shapes_of(part, name, folder).items()}
    file_name = "model" if part.library == "transformers" else "diffusion_pytorch_model"
    with (folder / f"{file_name}.safetensors").open("wb") as file:
        contents = ((key, _random(tensors[key].values, dtype, chance)) for key in in_order(tensors))
        write_safetensors(file, tensors, contents, {"format": "pt"})


def _random(count: int, dtype: str, chance: np.random.Generator) -> Iterator[bytes]:
    for begin in range(0, count, _CHUNK_VALUES):
        values = min(_CHUNK_VALUES, count - begin)
        if dtype == "F32":
            yield (chance.standard_normal(values, dtype=np.float32) / 8).tobytes()
        else:
            yield (np.frombuffer(chance.bytes(2 * values), dtype=np.uint16) & _FINITE).tobytes()
