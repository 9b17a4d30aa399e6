"""A model folder becomes modules: plain, on the CPU, in evaluation mode. Nothing is fetched from a network."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from torch import nn

from gesso.core.errors import ModelError
from gesso.models.families import Role
from gesso.models.folder import (
    INDEX_FILE,
    ComponentDescription,
    ModelDescription,
    is_processor_for_text,
    verify,
)
from gesso.models.network import LOADING, class_of, load_network, quiet_libraries, unreadable


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """The parts of a pipeline, loaded.

    `pipeline_class(**modules, **others, scheduler=…, **init_options)` builds it.
    """

    description: ModelDescription
    modules: Mapping[str, nn.Module] = field(repr=False)
    others: Mapping[str, Any] = field(repr=False)
    """Tokenizers, feature extractors; `None` for parts that the folder leaves out or nobody asked for."""
    scheduler_class: type[Any] | None
    """`None` for the few pipelines that take no part of the name `scheduler`."""
    scheduler_config: Mapping[str, Any] = field(repr=False)
    pipeline_class: type[Any]
    init_options: Mapping[str, Any]
    """Arguments of the pipeline's `__init__` that are not parts, such as `force_zeros_for_empty_prompt`."""
    warnings: tuple[str, ...] = ()
    """What the reader should know, such as weights that the network has no place for."""


def load(
    description: ModelDescription,
    *,
    dtypes: Mapping[str, torch.dtype],
    device: str = "cpu",
    safety_checker: bool = False,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Read every part of a model. Safe to call while other threads make pictures.

    Args:
        dtypes: number format of each network by its name; float32 for those not named.
        device: where the networks will run. They stay on the CPU here; for `cpu` itself they are copied out of their
            files into memory, so that a file may be replaced while its model is in use.
        safety_checker: load the checker too, if the folder has one.
        trust_remote_code: run Python files that come with the model.

    Raises:
        ModelError: a part is missing, broken, of a class that is not installed, or needs code that is not trusted.
    """
    verify(description, safety_checker=safety_checker)
    if description.custom_code:
        return _load_custom(description, dtypes=dtypes, trusted=trust_remote_code)
    with quiet_libraries():  # looking a class up imports it, and imports talk
        pipeline_class = _pipeline_class(description)
        parameters = inspect.signature(pipeline_class.__init__).parameters
        wanted = _wanted(description, parameters, safety_checker=safety_checker)
        classes = {part.name: class_of(part) for part in wanted}
        pictures = description.family is not None and description.family.reads_picture
        others = {
            part.name: _load_other(part, classes[part.name], pictures=pictures) for part in wanted if _is_other(part)
        }
    _check_required(description, pipeline_class, parameters, classes)
    modules: dict[str, nn.Module] = {}
    notes = [
        *description.notes,
        *(
            f"`{name}` is named in `{INDEX_FILE}`, and `{description.pipeline_class}` does not take it"
            for name in description.components
            if name not in parameters
        ),
    ]
    own_memory = device.partition(":")[0] == "cpu"
    for part in wanted:
        if part.role is not None:
            dtype = dtypes.get(part.name, torch.float32)
            modules[part.name], unused = load_network(part, classes[part.name], dtype=dtype, own_memory=own_memory)
            notes += unused
    absent = [name for name, value in description.index.items() if isinstance(value, list) and name in parameters]
    options = {name: value for name, value in description.index.items() if name in parameters and name not in absent}
    if "safety_checker" in parameters and "safety_checker" not in modules and "requires_safety_checker" in parameters:
        options["requires_safety_checker"] = False  # else the pipeline complains of what was decided
    return LoadedModel(
        description=description,
        modules=modules,
        others={name: None for name in absent if name not in modules and name != "scheduler"} | others,
        scheduler_class=classes.get("scheduler"),
        scheduler_config=dict(description.scheduler_config),
        pipeline_class=pipeline_class,
        init_options=options,
        warnings=tuple(notes),
    )


def load_tokenizer(description: ModelDescription, name: str) -> Any | None:
    """A tokenizer of a model without its networks; `None` if it has none of that name.

    Raises:
        ModelError: it is broken.
    """
    part = description.components.get(name)
    if part is None or not _is_other(part):
        return None
    with quiet_libraries():
        return _load_other(part, class_of(part))


def _wanted(
    description: ModelDescription, parameters: Mapping[str, Any], *, safety_checker: bool
) -> list[ComponentDescription]:
    """Parts that the pipeline takes; the checker only if asked for, and what prepares pictures only for a reader."""
    taken = [part for part in description.components.values() if part.name in parameters]
    if safety_checker and _named(description, "safety_checker"):
        for name in ("safety_checker", "feature_extractor"):
            if _named(description, name) and name not in description.components:
                raise ModelError(
                    f"`{name}` was asked for and is missing in `{description.path}`",
                    hint="switch the setting `safety_checker` off, or download the whole model folder again",
                )
    else:
        taken = [part for part in taken if part.role is not Role.SAFETY]
    reads_pictures = any(part.role in (Role.SAFETY, Role.IMAGE) for part in taken)
    return [part for part in taken if reads_pictures or part.name != "feature_extractor"]


def _named(description: ModelDescription, name: str) -> bool:
    value = description.index.get(name)
    return isinstance(value, list) and value[:1] != [None]


def _is_other(part: ComponentDescription) -> bool:
    return part.role is None and part.name != "scheduler"


def _pipeline_class(description: ModelDescription) -> type[Any]:
    cls = getattr(diffusers, description.pipeline_class, None)
    if not (isinstance(cls, type) and issubclass(cls, DiffusionPipeline)):
        raise ModelError(
            f"`{description.name}` needs `{description.pipeline_class}`, "
            f"which diffusers {diffusers.__version__} does not have",
            hint="a newer diffusers may: `pip install --upgrade diffusers`",
        )
    return cls


def _load_other(part: ComponentDescription, cls: type[Any], *, pictures: bool = False) -> Any:
    """A tokenizer or a processor.

    Args:
        pictures: of a processor of texts and pictures only the part for pictures is used, and it needs no torchvision.
    """
    options: dict[str, Any] = {}
    if is_processor_for_text(part.name, part.class_name):
        cls = transformers.AutoTokenizer
    elif pictures and part.name == "processor":
        cls, options = transformers.AutoImageProcessor, {"backend": "pil"}
    try:
        return cls.from_pretrained(part.folder, local_files_only=True, **options)
    except Exception as error:  # the boundary: tokenizers raise bare `Exception` for a damaged vocabulary
        raise unreadable(part.name, part.folder, error) from error


def _check_required(
    description: ModelDescription,
    pipeline_class: type[Any],
    parameters: Mapping[str, inspect.Parameter],
    classes: Mapping[str, type[Any]],
) -> None:
    optional = {*getattr(pipeline_class, "_optional_components", ()), "self"}
    for name, parameter in parameters.items():
        needed = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        if needed and name not in optional and name not in classes and name not in description.index:
            raise ModelError(
                f"`{name}` is missing: `{description.pipeline_class}` needs it, and `{INDEX_FILE}` does not name it",
                hint="download or copy the whole model folder again",
            )


def _load_custom(description: ModelDescription, *, dtypes: Mapping[str, torch.dtype], trusted: bool) -> LoadedModel:
    """A model with code of its own is loaded by diffusers alone, since nobody else knows how."""
    if not trusted:
        raise ModelError(
            f"`{description.name}` brings Python code of its own and wants to run it",
            hint="read the `.py` files in its folder, then allow it with the setting `trust_remote_code`",
        )
    with quiet_libraries(), LOADING, torch.random.fork_rng(devices=[]):
        try:
            pipeline: Any = DiffusionPipeline.from_pretrained(
                description.path,
                local_files_only=True,
                trust_remote_code=True,
                dtype={"default": torch.float32, **dtypes},
            )
        except Exception as error:  # the boundary: code of strangers raises what it likes
            raise unreadable(description.name, description.path, error) from error
    parts: dict[str, Any] = pipeline.components
    modules = {name: part.eval().requires_grad_(False) for name, part in parts.items() if isinstance(part, nn.Module)}
    scheduler = parts.get("scheduler")
    hidden = {name for name in pipeline.config if name.startswith("_")}
    return LoadedModel(
        description=description,
        modules=modules,
        others={name: part for name, part in parts.items() if name not in modules and name != "scheduler"},
        scheduler_class=type(scheduler) if scheduler is not None else None,
        scheduler_config=dict(scheduler.config) if scheduler is not None else {},
        pipeline_class=type(pipeline),
        init_options={k: v for k, v in pipeline.config.items() if k not in parts and k not in hidden},
        warnings=(f"`{description.name}` ran code of its own; whether all its weights are there was not checked",),
    )
