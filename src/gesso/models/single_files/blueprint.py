"""What a model in one file is: its pipeline, its parts, and where each network is found in the file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gesso.core.errors import ModelError
from gesso.models.folder import INDEX_FILE
from gesso.models.headers.base import FileFormat, WeightsHeader
from gesso.models.recognition.kinds import Kind, Recognition
from gesso.models.recognition.prediction import EDM, FLOW
from gesso.models.recognition.recognise import recognise
from gesso.models.single_files.embedded import embedded
from gesso.models.single_files.known_models import KnownModel, KnownPart, known_models, known_part
from gesso.models.single_files.maps.networks import SPELLINGS

_LOOK = "`gesso models show FILE` tells what it is"


@dataclass(frozen=True, kw_only=True)
class NetworkPlan:
    """One network that the pipeline takes."""

    class_name: str
    config: Mapping[str, Any] = field(repr=False)
    prefixes: tuple[str, ...]
    optional: bool
    fit: bool
    """Whether the config follows the file; otherwise it is exactly this one."""


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """All that is known of the model before its tensors are looked for."""

    index: Mapping[str, Any]
    """`model_index.json`."""
    networks: Mapping[str, NetworkPlan]
    files: Mapping[str, bytes] = field(repr=False)
    """Small files of the parts that are no networks, by path."""
    vocabularies: Mapping[str, KnownPart] = field(default_factory=dict[str, KnownPart])
    """Tokenizers whose vocabulary comes with the package, if it has it."""
    notes: tuple[str, ...] = ()


def blueprint_of(path: Path, header: WeightsHeader) -> Blueprint:
    """What the file at `path` says it is, else what its tensors show.

    Raises:
        ModelError: it is no model, or one of a family whose single files are not read.
    """
    if header.format is FileFormat.GGUF:
        raise ModelError(
            f"`{path}` is a GGUF file, which is not loaded yet", hint="get the same model as `.safetensors`"
        )
    files = embedded(path, header.metadata)
    return _told(path, files) if files is not None else _recognised(path, header)


def _told(path: Path, files: Mapping[str, bytes]) -> Blueprint:
    """The folder that the file was converted from."""
    try:
        index: dict[str, Any] = json.loads(files[INDEX_FILE])
        parts = {name: value for name, value in index.items() if isinstance(value, list) and value != [None, None]}
        networks = {name: str(value[1]) for name, value in parts.items() if str(value[1]) in SPELLINGS}
        configs: dict[str, Mapping[str, Any]] = {name: json.loads(files[f"{name}/config.json"]) for name in networks}
        foreign = [str(value[0]) for value in parts.values() if value[0] not in ("diffusers", "transformers")]
    except (ValueError, KeyError, TypeError, AttributeError, LookupError) as error:
        raise ModelError(f"The configs in the metadata of `{path}` are incomplete: {error}") from error
    if foreign:
        raise ModelError(f"`{path}` names code of `{foreign[0]}`, which no single file needs", hint=_LOOK)
    prefixes = prefixes_of(str(index.get("_class_name")))
    return Blueprint(
        index=index,
        networks={
            name: NetworkPlan(
                class_name=class_name,
                config=configs[name],
                prefixes=prefixes.get(name, (f"{name}.",)),
                optional=False,
                fit=False,
            )
            for name, class_name in networks.items()
        },
        files=files,
    )


def models_of(pipeline: str) -> list[KnownModel]:
    """The known models that use a pipeline class."""
    return [model for model in known_models().values() if pipeline in {model.pipeline, *model.tasks.values()}]


def prefixes_of(pipeline: str) -> dict[str, tuple[str, ...]]:
    """What may stand before the tensors of each network of a pipeline."""
    found: dict[str, tuple[str, ...]] = {}
    for model in models_of(pipeline):
        for name, prefixes in model.prefixes.items():
            found[name] = tuple(dict.fromkeys((*found.get(name, ()), *prefixes)))
    return found


def _recognised(path: Path, header: WeightsHeader) -> Blueprint:
    recognition = recognise(header)
    model = _model(path, recognition)
    pipeline = _pipeline(path, model, recognition)
    parts = dict(model.parts)
    if recognition.variant is not None and recognition.variant.value == "schnell":
        parts["scheduler"] = known_part("flux-schnell-flow")
    scheduler, notes = _scheduler(path, parts["scheduler"], recognition, header)
    parts["scheduler"] = scheduler
    index: dict[str, Any] = {"_class_name": pipeline, **model.options}
    index |= {name: [None, None] for name in model.absent}
    index |= {name: [part.library, part.class_name] for name, part in parts.items()}
    return Blueprint(
        index=index,
        networks={
            name: NetworkPlan(
                class_name=part.class_name,
                config=_config(part, recognition) if name == "unet" else part.config,
                prefixes=model.prefixes[name],
                optional=name in model.optional,
                fit=True,
            )
            for name, part in parts.items()
            if name in model.prefixes
        },
        files={"scheduler/scheduler_config.json": _json({"_class_name": scheduler.class_name, **scheduler.config})},
        vocabularies={name: part for name, part in parts.items() if part.vocabulary is not None},
        notes=notes,
    )


def _model(path: Path, recognition: Recognition) -> KnownModel:
    kind, family = recognition.kind.value, recognition.families[0] if recognition.families else None
    if kind not in (Kind.CHECKPOINT, Kind.DENOISER):
        what = f"`{path}` is a {kind}" if kind != Kind.UNKNOWN else f"Nothing that is known fits `{path}`"
        hints: dict[str, str] = {
            Kind.VAE: "give it to a model with `--vae FILE`",
            Kind.TEXT_ENCODER: "give it to a model with `--part text_encoder=FILE`",
        }
        raise ModelError(f"{what}, and not a model that paints", hint=hints.get(kind, _LOOK))
    known = known_models()
    if family is None or family not in known:
        raise ModelError(
            f"`{path}` is a {kind} of {family or 'no known family'}, and single files are loaded of {', '.join(known)}",
            hint="get it as a folder of diffusers",
        )
    return known[family]


def _pipeline(path: Path, model: KnownModel, recognition: Recognition) -> str:
    if recognition.task is None:
        return model.pipeline
    pipeline = model.tasks.get(recognition.task.value)
    if pipeline is None:
        raise ModelError(
            f"`{path}` is for {recognition.task.value}, which is not loaded from a single file",
            hint="get it as a folder of diffusers",
        )
    return pipeline


def _scheduler(
    path: Path, scheduler: KnownPart, recognition: Recognition, header: WeightsHeader
) -> tuple[KnownPart, tuple[str, ...]]:
    """The scheduler for what the denoiser predicts, and a note where that is a guess that may well be wrong."""
    prediction = recognition.prediction
    if prediction is None or prediction.value == FLOW:
        return scheduler, ()
    if prediction.value == EDM:
        raise ModelError(
            f"`{path}` is sampled as EDM does ({prediction.evidence}), which is not loaded from a single file",
            hint="get it as a folder of diffusers",
        )
    changes: dict[str, Any] = {"prediction_type": prediction.value}
    if "ztsnr" in header.tensors:
        changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    doubtful = prediction.guess and recognition.families == ("sd2",)
    notes = (f"That `{path.name}` predicts {prediction.value} is a guess: {prediction.evidence}",) if doubtful else ()
    known = KnownPart(
        library=scheduler.library, class_name=scheduler.class_name, config={**scheduler.config, **changes}
    )
    return known, notes


def _config(part: KnownPart, recognition: Recognition) -> Mapping[str, Any]:
    """Of SD 2, those that predict noise paint 512 px; the others 768, as published."""
    prediction = recognition.prediction
    small = recognition.families == ("sd2",) and prediction is not None and prediction.value == "epsilon"
    return {**part.config, "sample_size": 64} if small else part.config


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode()
