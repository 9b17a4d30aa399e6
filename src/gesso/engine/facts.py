"""What must be known of a model to resolve a request for it, without loading a weight."""

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Any, get_type_hints

from gesso.core.errors import InputError, ModelError
from gesso.core.registry import load_dotted
from gesso.models.bases.base import Base
from gesso.models.bases.claims import claimed_hub_ids
from gesso.models.bases.registry import base_named, base_of
from gesso.models.families import SDXL_REFINER, GuidedCalls, Reads, Role, Sampling
from gesso.models.folder import ModelDescription
from gesso.models.network import quiet_libraries
from gesso.models.tasks import INSTRUCTION_CHANNELS, Task, only_task, tasks_of, text_class
from gesso.models.verified import VERIFIED, VerifiedPipeline

_BY_NAME = frozenset({inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY})

OTHER = "other"
"""Family name of a model that runs as its folder says, without conditioning of our own."""

_CLIPS = frozenset({"CLIPTextModel", "CLIPTextModelWithProjection"})
_T5 = "T5EncoderModel"
_CONVOLVING = frozenset({"UNet2DConditionModel"})


@dataclass(frozen=True, kw_only=True)
class TextReader:
    """A text encoder, as embeddings are made for it."""

    called: str
    """`clip_l`, `clip_g` or `t5xxl`: what files with vectors for several encoders call it."""
    width: int
    """Values of the vector of a token."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Facts of one model that decide a request.

    Attributes:
        arguments: arguments of the pipeline's `__call__`, and the kind of value that each is said to take.
        flow: the denoiser predicts a velocity between noise and picture (rectified flow); otherwise it is a diffusion.
        own_conditioning: the engine computes the prompt embeddings; otherwise the pipeline does.
        distilled: a second pass without the prompt is made only if `true_cfg_scale` asks for it.
        takes_guidance: whether guidance has any effect.
        guidance_argument: what the pipeline calls it.
        guided_above: guidance at which the pipeline begins to make a second pass.
        without_effect: arguments that do nothing, because the engine reads the prompt.
    """

    name: str
    reference: str
    """What the store finds it by: its name, or its path if it was asked for by path."""
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where parts of it come from that are not its own: absolute paths by the name of the part."""
    family: str
    pipeline: str
    arguments: Mapping[str, Any] = field(repr=False)
    size_multiple_px: int
    default_size_px: tuple[int, int]
    """Width, height."""
    defaults: Sampling
    flow: bool
    own_conditioning: bool
    distilled: bool
    takes_guidance: bool
    guidance_argument: str = "guidance_scale"
    guided_above: float = 1.0
    guided_calls: GuidedCalls | None = None
    """How its pipeline asks for the predictions with and without the prompt; `None` if that is not known."""
    keeps_norm: bool = False
    """The pipeline gives the guided prediction the norm of the prompt's own."""
    convolves: bool = False
    """Where its denoiser is in a picture it knows by the padding of convolutions alone."""
    without_effect: frozenset[str] = frozenset()
    clip_skip: bool
    reads: Reads | None = None
    """How its text encoders read a prompt; `None` where the pipeline does, which knows plain text only."""
    vae_force_upcast: bool
    scheduler: str
    """Class name of the model's own scheduler."""
    scheduler_config: Mapping[str, Any] = field(repr=False)
    unet_channels: int | None = None
    """That its UNet reads; `None` where it has none."""
    usual_steps: int = 0
    """Steps that the pipeline makes when it is not told how many."""
    tried: VerifiedPipeline | None = field(default=None, repr=False)
    """What is known of the pipeline's class beyond its signature; `None` if nobody tried it."""
    base: Base | None = field(default=None, repr=False)
    """The well-known base that it says it is."""
    text_readers: Mapping[str, TextReader] = field(default_factory=dict[str, TextReader])
    """Its text encoders by name; none if they are not of a kind that embeddings are made for."""

    @property
    def only(self) -> Task | None:
        """The one thing that it does, if it cannot begin with text alone."""
        found = only_task(self.pipeline, self.unet_channels)
        return None if found is None else found[0]

    @property
    def tasks(self) -> Mapping[Task, str]:
        """What it does, and the class that does it. May cost the import of every pipeline there is."""
        return tasks_of(self.pipeline, self.unet_channels)

    @property
    def takes_negative_prompt(self) -> bool:
        """As text or, where the engine reads it, as embeddings; whether it has an effect is another question."""
        return "negative_prompt" in self.arguments or (
            self.own_conditioning and "negative_prompt_embeds" in self.arguments
        )

    def guided(self, guidance: float, arguments: Mapping[str, Any], negative_prompt: str) -> bool:
        """Whether the pipeline makes a second pass without the prompt; of distilled networks see `distilled`."""
        if not self.distilled:
            return guidance > self.guided_above
        return has_true_guidance(arguments) and bool(negative_prompt)

    @property
    def accepts(self) -> frozenset[str]:
        """Names of the arguments that the pipeline takes."""
        return frozenset(self.arguments)


def has_true_guidance(arguments: Mapping[str, Any]) -> bool:
    """Whether arguments of a pipeline ask a distilled network for guidance by a second pass."""
    scale = arguments.get("true_cfg_scale", 1.0)
    return isinstance(scale, int | float) and scale > 1


def facts_for(facts: ModelFacts, task: Task) -> ModelFacts:
    """Facts of the same networks for another task than that of their folder.

    Args:
        facts: for the folder's own pipeline.

    Raises:
        InputError: no class of diffusers does that with these networks.
    """
    if task is Task.TEXT_TO_IMAGE and facts.only is None:
        return facts
    if task not in facts.tasks:
        raise InputError(
            f"`{facts.name}` ({facts.pipeline}) does not do {task}",
            hint=f"it does {', '.join(facts.tasks)}; `gesso models list` shows other models",
        )
    return facts_as(facts, facts.tasks[task])


def facts_as(facts: ModelFacts, pipeline: str) -> ModelFacts:
    """Facts of the same networks in the pipeline of that name, such as that of a resolved request."""
    if pipeline == facts.pipeline:
        return facts
    return replace(facts, pipeline=pipeline, arguments=argument_kinds(pipeline))


@cache
def pipeline_class(name: str) -> type:
    """The diffusers class of that name. Raises `ModelError` if this diffusers has none."""
    try:
        with quiet_libraries():  # importing a pipeline imports half of two libraries, and they talk
            return load_dotted(f"diffusers:{name}")
    except (AttributeError, ImportError, RuntimeError) as error:
        raise ModelError(
            f"The model is for `{name}`, which this diffusers does not have",
            hint="install a newer diffusers, or choose a text-to-image model that `gesso models list` shows",
        ) from error


def facts_of(
    description: ModelDescription,
    *,
    asked: str | None = None,
    parts: Mapping[str, str] = MappingProxyType({}),
    finishes: bool = False,
) -> ModelFacts:
    """Facts of a described model.

    Args:
        asked: the name or path that it was asked for by.
        parts: where parts of it come from that are not its own.
        finishes: it goes on with the pictures of another model, and need not begin any.

    Raises:
        ModelError: its pipeline makes no pictures from text.
    """
    channels = unet_channels(description)
    only = only_task(description.pipeline_class, channels)
    name = description.pipeline_class if only is None else only[1]
    signature = inspect.signature(pipeline_class(name).__call__)  # pyright: ignore[reportFunctionMemberAccess]
    arguments = argument_kinds(name)
    required = {"image", "video", "mask_image", "control_image"} & {
        name for name, parameter in signature.parameters.items() if parameter.default is parameter.empty
    }
    begins = only is not None or not (required or ("image" in arguments and _changes_pictures(name)))
    if "prompt" not in arguments or not (begins or finishes):
        refines = f"it finishes pictures of SDXL: `--refiner {description.name}`"
        raise ModelError(
            f"`{description.name}` is a `{name}`, which does not make pictures from text alone",
            hint=refines if description.family is SDXL_REFINER else "choose a model that `gesso models list` shows",
        )
    family = description.family
    distilled = family is not None and not family.negative_prompt
    guidance = "guidance_scale" if family is None else family.guidance_argument
    # With the prompt and the picture, with the picture, with neither.
    asks_thrice = channels == INSTRUCTION_CHANNELS
    base = base_of(hub_ids=claimed_hub_ids(description), pipeline=name)
    by_name = asked is None or asked == description.name or base_named(asked) is not None
    return ModelFacts(
        name=description.name,
        reference=description.name if by_name else str(description.path.resolve()),
        parts={name: os.path.abspath(os.path.expanduser(place)) for name, place in parts.items()},
        family=OTHER if family is None else family.name,
        pipeline=name,
        arguments=arguments,
        size_multiple_px=description.size_multiple_px,
        default_size_px=description.default_size_px,
        defaults=_defaults(description, base, signature),
        flow=_is_flow(description),
        own_conditioning=family is not None,
        distilled=distilled,
        takes_guidance=guidance in arguments and (family is None or not distilled or family.guidance_embedded),
        guidance_argument=guidance,
        guided_above=1.0 if family is None else family.guided_above,
        guided_calls=None if family is None or asks_thrice else family.guided_calls,
        keeps_norm=family is not None and family.keeps_norm,
        without_effect=frozenset() if family is None else family.without_effect,
        clip_skip=family is not None and family.clip_skip,
        convolves=_convolves(description),
        reads=None if family is None else family.reads,
        vae_force_upcast=_vae_force_upcast(description),
        scheduler=description.scheduler_class or "",
        scheduler_config=description.scheduler_config,
        unet_channels=channels,
        usual_steps=_pipeline_defaults(signature).steps,
        tried=VERIFIED.get(text_class(name)),
        base=base,
        text_readers=_text_readers(description),
    )


def _convolves(description: ModelDescription) -> bool:
    denoisers = [part for part in description.components.values() if part.role is Role.DENOISER]
    return bool(denoisers) and all(part.class_name in _CONVOLVING for part in denoisers)


def unet_channels(description: ModelDescription) -> int | None:
    """Channels that its UNet reads; `None` where it has none."""
    unet = description.components.get("unet")
    channels = None if unet is None else unet.config.get("in_channels")
    return channels if isinstance(channels, int) else None


def _text_readers(description: ModelDescription) -> dict[str, TextReader]:
    if description.family is None:
        return {}
    readers: dict[str, TextReader] = {}
    for name, component in description.components.items():
        if component.role is not Role.TEXT:
            continue
        t5 = component.class_name == _T5
        width = component.config.get("d_model" if t5 else "hidden_size")
        if not isinstance(width, int) or not (t5 or component.class_name in _CLIPS):
            return {}
        called = "t5xxl" if t5 else "clip_l" if name == "text_encoder" else "clip_g"
        readers[name] = TextReader(called=called, width=width)
    return readers


@cache
def _changes_pictures(pipeline: str) -> bool:
    """Whether diffusers has a pipeline for changing pictures alone, although its signature lets them be left out."""
    with quiet_libraries():
        from diffusers.pipelines import auto_pipeline as tasks  # imports every pipeline there is: asked only in doubt

    makes, *changes = (
        {kind.__name__ for kind in mapping.values()}
        for mapping in (
            tasks.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
            tasks.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
            tasks.AUTO_INPAINT_PIPELINES_MAPPING,
        )
    )
    return pipeline not in makes and any(pipeline in names for names in changes)


@cache
def argument_kinds(pipeline: str) -> Mapping[str, Any]:
    """Arguments that a pipeline takes by name, and the annotation of each; `Parameter.empty` where there is none."""
    call = inspect.unwrap(pipeline_class(pipeline).__call__)  # pyright: ignore[reportFunctionMemberAccess]
    try:
        hints = get_type_hints(call)
    except (NameError, TypeError):  # an annotation that Python itself cannot read
        hints = {}
    _, *parameters = inspect.signature(call).parameters.values()
    named = [parameter for parameter in parameters if parameter.kind in _BY_NAME]  # not `**kwargs`, which is no name
    return {parameter.name: hints.get(parameter.name, parameter.empty) for parameter in named}


def _is_flow(description: ModelDescription) -> bool:
    if description.family is not None:
        return description.family.flow
    return (description.scheduler_class or "").startswith("FlowMatch") or bool(
        description.scheduler_config.get("use_flow_sigmas", False)
    )


def _defaults(description: ModelDescription, base: Base | None, signature: inspect.Signature) -> Sampling:
    """The folder's own, else those of the base that it is, of its family, of its pipeline."""
    if description.defaults is not None:
        return description.defaults
    if base is not None and base.defaults is not None:
        return base.defaults
    return _pipeline_defaults(signature) if description.family is None else description.family.defaults


def _pipeline_defaults(signature: inspect.Signature) -> Sampling:
    def default(name: str, otherwise: Any) -> Any:
        parameter = signature.parameters.get(name)
        if parameter is None or parameter.default in {parameter.empty, None}:
            return otherwise
        return parameter.default

    return Sampling(steps=int(default("num_inference_steps", 28)), guidance=float(default("guidance_scale", 1.0)))


def _vae_force_upcast(description: ModelDescription) -> bool:
    vae = description.components.get("vae")
    return vae is None or bool(vae.config.get("force_upcast", True))
