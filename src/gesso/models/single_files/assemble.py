"""A single file, or several, become a model as a folder is one: described, and read network by network.

Nothing is unpacked: configs and vocabularies go into a small folder in the cache, and each network knows which tensors
of which file are its own.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gesso.core.errors import ModelError
from gesso.models.folder import INDEX_FILE, ModelDescription, Weights, describe, read_json
from gesso.models.headers.base import WeightsHeader
from gesso.models.headers.read import read_weights_header
from gesso.models.single_files.blueprint import Blueprint, NetworkPlan, blueprint_of, prefixes_of
from gesso.models.single_files.find import FoundNetwork, find_network, needless
from gesso.models.single_files.known_models import vocabulary_files
from gesso.models.single_files.maps.networks import SPELLINGS
from gesso.models.single_files.skeleton import skeleton_folder

Parts = Mapping[str, str]
"""Part of the pipeline → file or folder that it is taken from."""

_SHOWN = 3
_MAX_SMALL_BYTES = 32 * 2**20
_NAMES = {
    "CLIPTextModel": "CLIP",
    "CLIPTextModelWithProjection": "CLIP with its projection",
    "T5EncoderModel": "T5",
    "AutoencoderKL": "a VAE",
    "UNet2DConditionModel": "a UNet",
    "SD3Transformer2DModel": "a transformer of SD 3",
    "FluxTransformer2DModel": "a transformer of Flux.1",
}


@dataclass(kw_only=True)
class _Draft:
    """A model while it is put together."""

    path: Path
    index: dict[str, Any]
    networks: Mapping[str, NetworkPlan]
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    weights: dict[str, Weights] = field(default_factory=dict[str, Weights])
    notes: tuple[str, ...] = ()


def describe_file(
    path: Path, *, cache_folder: Path, parts: Parts = MappingProxyType({}), name: str | None = None
) -> ModelDescription:
    """Describe the model in the single file at `path`.

    Args:
        cache_folder: where its small files are kept.
        parts: parts that come from elsewhere.

    Raises:
        ModelError: it is no model, lacks a part, or a part is not what it should be.
    """
    header = read_weights_header(path)
    blueprint = blueprint_of(path, header)
    draft = _Draft(path=path, index=dict(blueprint.index), networks=blueprint.networks, notes=blueprint.notes)
    draft.files.update(blueprint.files)
    _take_own_networks(draft, header)
    _take_vocabularies(draft, blueprint)
    _take_parts(draft, parts)
    _check_complete(draft, blueprint)
    return _finished(draft, cache_folder, name if name is not None else path.stem)


def describe_with_parts(description: ModelDescription, parts: Parts, *, cache_folder: Path) -> ModelDescription:
    """A described folder whose parts come partly from elsewhere.

    Raises:
        ModelError: as `describe_file`.
    """
    if description.custom_code:
        raise ModelError(f"`{description.name}` brings code of its own and takes no parts", hint="leave `--part` out")
    prefixes = prefixes_of(description.pipeline_class)
    draft = _Draft(
        path=description.path,
        index=dict(description.index),
        networks={
            network.name: NetworkPlan(
                class_name=network.class_name,
                config=network.config,
                prefixes=prefixes.get(network.name, (f"{network.name}.", "")),
                optional=False,
                fit=True,
            )
            for network in description.networks
        },
        files=small_files(description),
        weights={network.name: network.view or network.folder for network in description.networks},
        notes=description.notes,
    )
    _take_parts(draft, parts)
    return _finished(draft, cache_folder, description.name)


def small_files(description: ModelDescription) -> dict[str, bytes]:
    """Everything but weights in the folder of a model, by path."""
    root = description.config_folder
    found = {path.name: path for path in root.glob("*.json")}
    for component in description.components.values():
        folder = component.folder
        paths = [folder / "config.json"] if component.role is not None else sorted(folder.glob("*"))
        found |= {f"{component.name}/{path.name}": path for path in paths if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if path.stat().st_size < _MAX_SMALL_BYTES}


def _take_own_networks(draft: _Draft, header: WeightsHeader) -> None:
    used: set[str] = set()
    for name, plan in draft.networks.items():
        found = find_network(draft.path, header.tensors, plan.class_name, plan.config, plan.prefixes, fit=plan.fit)
        if found is not None:
            _take(draft, name, found)
            used |= found.keys
    unused = [key for key in header.tensors if key not in used and not needless(key)]
    if unused:
        draft.notes = (*draft.notes, f"`{draft.path.name}` holds tensors that no network takes: {some(unused)}")


def _take(draft: _Draft, name: str, found: FoundNetwork) -> None:
    if found.missing:
        what = _NAMES[draft.networks[name].class_name]
        raise ModelError(
            f"`{found.view.path}` lacks {len(found.missing)} of the tensors of its `{name}`: {some(found.missing)}",
            hint=f"it begins like {what} of that family, and is another or damaged: download it again",
        )
    draft.weights[name] = found.view
    if draft.networks[name].fit:
        own = {} if "architectures" in found.config else {"_class_name": draft.networks[name].class_name}
        draft.files[f"{name}/config.json"] = _json({**own, **found.config})


def _take_vocabularies(draft: _Draft, blueprint: Blueprint) -> None:
    for name, part in blueprint.vocabularies.items():
        files = vocabulary_files(part.vocabulary or "")
        if files:
            draft.files |= {f"{name}/{file}": content for file, content in files.items()}
            draft.files[f"{name}/tokenizer_config.json"] = _json(part.config)


def _take_parts(draft: _Draft, parts: Parts) -> None:
    for name, place in parts.items():
        path = Path(place).expanduser()
        if not isinstance(draft.index.get(name), list) or name == "scheduler":
            takes = ", ".join(sorted(name for name, value in draft.index.items() if isinstance(value, list)))
            raise ModelError(f"There is no part `{name}` of `{draft.index['_class_name']}`", hint=f"it takes {takes}")
        if not os.path.lexists(path):
            raise ModelError(f"There is no file or folder `{place}`, asked for as `{name}`", hint="check the path")
        if path.is_dir():
            _take_folder(draft, name, path)
        elif name in draft.networks:
            _take_file(draft, name, path)
        else:
            raise ModelError(
                f"`{place}` is no folder, asked for as `{name}`",
                hint="give the folder of that part, with its `tokenizer.json` or `spiece.model`",
            )


def _take_file(draft: _Draft, name: str, path: Path) -> None:
    plan = draft.networks[name]
    if plan.class_name not in SPELLINGS:
        raise ModelError(f"`{name}` is a `{plan.class_name}`, which is not read from a single file")
    header = read_weights_header(path)
    prefixes = dict.fromkeys((*plan.prefixes, ""))
    found = find_network(path, header.tensors, plan.class_name, plan.config, prefixes, fit=True)
    if found is None:
        raise ModelError(
            f"`{path}` holds no {_NAMES[plan.class_name].removeprefix('a ')}, asked for as `{name}`",
            hint="`gesso models show FILE` tells what it is",
        )
    _take(draft, name, found)


def _take_folder(draft: _Draft, name: str, path: Path) -> None:
    """A part of a folder of diffusers."""
    files = {f"{name}/{file.name}": file for file in path.glob("*") if file.suffix in _SMALL and file.is_file()}
    draft.files = {key: content for key, content in draft.files.items() if not key.startswith(f"{name}/")}
    draft.files |= {key: file.read_bytes() for key, file in files.items() if ".index." not in file.name}
    if name in draft.networks:
        config = read_json(path / "config.json")
        found = config.get("_class_name", (config.get("architectures") or [None])[0])
        if found != draft.networks[name].class_name:
            raise ModelError(
                f"`{path}` holds a `{found}`, and `{name}` is a `{draft.networks[name].class_name}`",
                hint="give the folder of that part",
            )
        draft.weights[name] = path


_SMALL = frozenset({".json", ".txt", ".model", ".jinja"})


def _check_complete(draft: _Draft, blueprint: Blueprint) -> None:
    lacking = {name: plan for name, plan in draft.networks.items() if name not in draft.weights}
    for name, plan in list(lacking.items()):
        if plan.optional:
            del lacking[name]
            draft.index[name] = [None, None]
            tokenizer = name.replace("text_encoder", "tokenizer")
            draft.index[tokenizer] = [None, None]
            draft.notes = (*draft.notes, f"`{draft.path.name}` has no `{name}` ({_NAMES[plan.class_name]})")
    if lacking:
        named = ", ".join(f"`{name}` ({_NAMES[plan.class_name]})" for name, plan in lacking.items())
        options = " ".join(f"--part {name}=FILE" for name in lacking)
        raise ModelError(f"`{draft.path}` is not a whole model, it lacks {named}", hint=f"add {options}")
    for name, part in blueprint.vocabularies.items():
        if draft.index.get(name) != [None, None] and not any(key.startswith(f"{name}/") for key in draft.files):
            raise ModelError(
                f"`{draft.path}` needs the vocabulary of {(part.vocabulary or '').upper()}, which no single file has",
                hint=f"give the folder with its `tokenizer.json` or `spiece.model`: `--part {name}=FOLDER`",
            )


def _finished(draft: _Draft, cache_folder: Path, name: str) -> ModelDescription:
    draft.files[INDEX_FILE] = _json(draft.index)
    absent = tuple(f"{part}/" for part, value in draft.index.items() if value == [None, None])
    files = {key: content for key, content in draft.files.items() if not key.startswith(absent)}
    weights = {part: place for part, place in draft.weights.items() if draft.index.get(part) != [None, None]}
    folder = skeleton_folder(files, cache_folder)
    described = describe(folder, name=name, weights=weights)
    return replace(described, path=draft.path, notes=draft.notes)


def some(keys: Any) -> str:
    """A few names, and how many more there are."""
    listed = list(keys)
    rest = len(listed) - _SHOWN
    return ", ".join(f"`{key}`" for key in listed[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode()
