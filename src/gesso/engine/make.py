"""Making one picture: a plain diffusers pipeline on the calling thread, its networks hosted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from PIL import Image

from gesso.components.execute import ComponentError, OutOfMemoryError
from gesso.components.scope import ImageScope, entered
from gesso.components.seamless import Seamless
from gesso.components.state import CallState, VaeTiling
from gesso.components.trace import trace_checksum
from gesso.core.chance import Chance
from gesso.core.clock import utc_now
from gesso.core.errors import GessoError, InputError, ModelError
from gesso.core.events import PreviewReady, StepCompleted
from gesso.core.recipe import AdapterReport, EmbeddingReport, Fingerprint, Recipe, Run
from gesso.core.requests import ImageRequest, ResolvedImageRequest, Tiling
from gesso.core.settings import Settings
from gesso.engine.arguments import fitted_arguments
from gesso.engine.edit.keeper import LatentKeeper
from gesso.engine.edit.start import Start
from gesso.engine.facts import ModelFacts, facts_for
from gesso.engine.guidance.idle import idle_guidance
from gesso.engine.handle import Picture
from gesso.engine.hires.second import SecondPass, begins_with_latents, start_of_second
from gesso.engine.hosted_model import HostedModel
from gesso.engine.noise.draws import PictureNoise, is_plain
from gesso.engine.pictures import pixels_sha256
from gesso.engine.previews import Preview
from gesso.engine.samplers.scheduler import build
from gesso.engine.samplers.watch import watched
from gesso.engine.streams import News, news
from gesso.engine.vaes import ChosenVaes
from gesso.models.bases.fitting import burning_guidance, unusual_size
from gesso.models.tasks import Task

_SHOWN_CHARACTERS = 300
"""Of what a pipeline says: some print whole tensors."""


StatesAt = Callable[[float], Mapping[str, tuple[CallState, ...]]]
"""Share of the steps that are done → the state of each component for the calls that follow."""


class PipelineError(InputError):
    """A diffusers pipeline refused what was asked of it, or failed at it."""

    def __init__(self, message: str, resolved: ResolvedImageRequest, *, otherwise: str) -> None:
        given = ", ".join(f"`{name}`" for name in resolved.arguments)
        super().__init__(message, hint=f"change or leave out {given}" if given else otherwise)


def lasting_states(
    model: HostedModel, resolved: ResolvedImageRequest, tiled: Sequence[str], vaes: ChosenVaes
) -> dict[str, tuple[CallState, ...]]:
    """The state in which each component shall be during all calls of a request.

    Args:
        tiled: see `tiled_vaes`.
    """
    if resolved.tiling is None:
        return {name: (VaeTiling(),) for name in tiled}
    seamless = Seamless(x=resolved.tiling is not Tiling.Y, y=resolved.tiling is not Tiling.X)
    return dict.fromkeys(("vae", *model.denoisers, *vaes.names), (seamless,))


def all_states(
    first: Mapping[str, tuple[CallState, ...]], second: Mapping[str, tuple[CallState, ...]]
) -> dict[str, tuple[CallState, ...]]:
    """Both, `second` entered inside `first`."""
    return {name: (*first.get(name, ()), *second.get(name, ())) for name in first.keys() | second.keys()}


def tiled_vaes(
    model: HostedModel, resolved: ResolvedImageRequest, settings: Settings, vaes: ChosenVaes
) -> tuple[str, ...]:
    """The VAEs that pictures of that size go through in tiles."""
    resolved = resolved.largest()
    if resolved.width * resolved.height <= settings.vae_tiling_above_px or resolved.tiling is not None:
        return ()  # a tile that wraps round fits to itself, not to its neighbours
    return (*(["vae"] if hasattr(model.network("vae"), "use_tiling") else []), *vaes.taking_tiles)


@dataclass
class StepWatcher:
    """Stands at the scheduler seam of one picture: the only place where steps can be seen."""

    scope: ImageScope
    generator: torch.Generator | None
    publish: Callable[[News], None]
    preview: Preview | None
    states: StatesAt
    keeper: LatentKeeper | None = None
    before: int = 0
    """Steps of an earlier pass, which are done."""
    after: int = 0
    """Steps of a later one."""
    made: int = field(default=0, init=False)
    """Steps of this one, all of them."""

    @property
    def wants_x0(self) -> bool:
        return self.preview is not None

    def begin(self, total: int) -> None:
        self.made = total
        self.scope.step, self.scope.share = 0, 0.0
        self.scope.call_states = self.states(0.0)

    def step(self, completed: int, total: int, latents: torch.Tensor, x0: torch.Tensor | None) -> None:
        self.scope.step = completed if completed < total else None
        self.scope.share = completed / total
        if completed < total:
            self.scope.call_states = self.states(self.scope.share)
        done, self.made = self.before + completed, total
        self.publish(
            news(StepCompleted, image=self.scope.image, completed=done, total=self.before + total + self.after)
        )
        png = None if self.preview is None else self.preview(latents if x0 is None else x0, self.scope)
        if png is not None:
            self.publish(news(PreviewReady, image=self.scope.image, completed=done, png=png))


def make_image(
    model: HostedModel,
    resolved: ResolvedImageRequest,
    prompt_arguments: Mapping[str, Any],
    scope: ImageScope,
    *,
    publish: Callable[[News], None],
    warn: Callable[[str], None],
    preview: Preview | None,
    states: StatesAt,
    start: Start | None = None,
    second: SecondPass | None = None,
) -> Image.Image:
    """Run the pipeline for the picture of `scope`.

    Args:
        resolved: its seed is the seed of this very picture.
        start: what it begins with, if not with noise alone.
        warn: told of what was asked and had no effect.
        preview: what makes small pictures at each step, if somebody wants them.
        states: of the components, from step to step.
        second: what another pass over it needs, if the request has one.

    Raises:
        GessoError: whatever ended the picture; see `Component.call`.
        PipelineError: the pipeline refused what was asked of it, or failed.
    """
    # Noise is made on the CPU from the seed alone, so that a picture depends neither on the device nor on company.
    generator = torch.Generator("cpu").manual_seed(resolved.seed)
    watcher = StepWatcher(
        scope=scope,
        generator=generator,
        publish=publish,
        preview=preview,
        states=states,
        after=0 if resolved.hires is None else resolved.hires.steps,
    )
    for line in idle_guidance(resolved, model.facts):
        warn(line)
    if (base := model.facts.base) is not None:
        unusual = unusual_size(base, resolved.width, resolved.height), burning_guidance(base, resolved.guidance)
        for line in filter(None, unusual):
            warn(line)
    with entered(scope), torch.no_grad(), _reporting(model, resolved):
        with _noise(resolved, generator, warn):
            output_type = "latent" if begins_with_latents(resolved) else "pil"
            image: Any = run_pipeline(model, resolved, prompt_arguments, watcher, start=start, output_type=output_type)
        if second is not None:
            image = _second_pass(model, resolved, image, second, watcher, warn)
        scope.settle()
        for call in dict.fromkeys(scope.redone):
            warn(f"`{call}` overflowed in half precision and was done again in float32")
        largest = resolved.largest()
        if image.size != (largest.width, largest.height):
            warn(
                f"`{resolved.pipeline}` made {image.width}x{image.height} px, asked for "
                f"{largest.width}x{largest.height}: it makes sizes of its own"
            )
        return image if start is None else start.finished(image, resolved, model.facts)


def _second_pass(
    model: HostedModel,
    resolved: ResolvedImageRequest,
    first: Any,
    second: SecondPass,
    watcher: StepWatcher,
    warn: Callable[[str], None],
) -> Image.Image:
    """The picture, larger. Its noise is that of the seed at its size, drawn anew, as AUTOMATIC1111 does.

    Args:
        first: what the first pass made.
        watcher: of the first pass.
    """
    scope, own = watcher.scope, resolved.second()
    scope.steering, scope.call_states = second.steering, second.states(0.0)
    generator = torch.Generator("cpu").manual_seed(own.seed)
    again = replace(
        watcher, generator=generator, states=second.states, preview=second.preview, before=watcher.made, after=0
    )
    with _noise(own, generator, warn):
        return run_pipeline(
            model, own, second.arguments, again, start=start_of_second(first, resolved, flow=model.facts.flow)
        )


def run_pipeline(
    model: HostedModel,
    resolved: ResolvedImageRequest,
    prompt_arguments: Mapping[str, Any],
    watcher: StepWatcher,
    *,
    start: Start | None = None,
    output_type: str = "pil",
) -> Any:
    """One run of a pipeline inside the scope of a picture, which may be made of several.

    Args:
        watcher: follows its steps; its generator draws the noise.
        start: what it begins with, if not with noise alone.
        output_type: `pil`, or `latent` for what another run may begin with.

    Returns:
        The picture, or its latents with their row: [1, …].
    """
    task = Task.TEXT_TO_IMAGE if start is None else start.task
    facts = facts_for(model.facts, task)
    watcher.keeper = None if start is None else start.keeper()
    pipeline = model.pipeline(_scheduler(model, resolved, watcher), task)
    output = pipeline(
        **prompt_arguments,
        **_arguments(facts, resolved),
        **_engine_arguments(facts, resolved, watcher.generator, start),
        **({"output_type": output_type} if "output_type" in facts.accepts else {}),
    )
    return output.images[0] if output_type == "pil" else output.images


@contextmanager
def _noise(resolved: ResolvedImageRequest, generator: torch.Generator, warn: Callable[[str], None]) -> Iterator[None]:
    """Draws with `generator` give the noise that was asked for; nothing stands in between where that is its own."""
    if is_plain(resolved):
        yield
        return
    noise = PictureNoise(resolved, generator)
    with noise:
        yield
    for line in noise.close():
        warn(line)


@contextmanager
def _reporting(model: HostedModel, resolved: ResolvedImageRequest) -> Iterator[None]:
    """Whatever a pipeline raises becomes an error that says of which request."""
    try:
        yield
    except ComponentError as error:
        if not resolved.arguments:
            raise
        raise PipelineError(error.message, resolved, otherwise="") from error  # they may have reached the network
    except GessoError:
        raise
    except Exception as error:  # the boundary: pipelines raise what they like
        device = model.worker.device
        if device.is_out_of_memory(error):
            raise OutOfMemoryError(resolved.pipeline, device.name) from error
        what = "refused" if isinstance(error, ValueError | TypeError) else f"failed: {type(error).__name__}"
        raise PipelineError(
            f"`{resolved.pipeline}` {what}: {_first_line(error)}",
            resolved,
            otherwise="another size, other steps or another sampler may do; `--debug` shows where",
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:_SHOWN_CHARACTERS]


def _scheduler(model: HostedModel, resolved: ResolvedImageRequest, watcher: StepWatcher) -> Any:
    """The picture's own scheduler, watched; `None` for the few pipelines that have none to be given."""
    if model.scheduler_class is None:
        return None
    try:
        scheduler = build(
            resolved.sampler,
            resolved.schedule,
            scheduler_class=model.scheduler_class,
            scheduler_config=model.scheduler_config,
            generator=watcher.generator,
            chance=Chance(**{field.name: getattr(resolved, field.name) for field in fields(Chance)}),
        )
    except GessoError:
        raise
    except Exception as error:  # the boundary: constructors raise what they like for a config that they do not expect
        raise ModelError(
            f"The scheduler of `{model.facts.name}` cannot be made: {type(error).__name__}: {_first_line(error)}",
            hint="its `scheduler_config.json` is damaged: download or copy the whole model folder again",
        ) from error
    return watched(scheduler, watcher)


def _arguments(facts: ModelFacts, resolved: ResolvedImageRequest) -> dict[str, Any]:
    """Arguments of the request, and those without which the pipeline would not make what was asked."""
    given: Mapping[str, Any] = {}
    if facts.tried is not None:
        given = facts.tried.arguments(usual_steps=resolved.steps == facts.usual_steps)
        given = {name: value for name, value in given.items() if name in facts.accepts}
    return {**given, **fitted_arguments(resolved.arguments, facts)}


def _engine_arguments(
    facts: ModelFacts, resolved: ResolvedImageRequest, generator: torch.Generator | None, start: Start | None
) -> dict[str, Any]:
    given: dict[str, Any] = {
        "width": resolved.width,
        "height": resolved.height,
        "num_inference_steps": resolved.steps,
        facts.guidance_argument: resolved.guidance,
        "generator": generator,
    }
    if start is not None:
        given |= {"image": start.image, "strength": start.strength, "mask_image": start.mask}
        # Of pipelines that bring pictures to sizes of their own.
        given |= {"max_area": resolved.width * resolved.height, "_auto_resize": False}
    if resolved.guidance_rescale:
        given["guidance_rescale"] = resolved.guidance_rescale
    return {name: value for name, value in given.items() if name in facts.accepts}


def picture_of(
    image: Image.Image,
    scope: ImageScope,
    *,
    asked: ImageRequest,
    resolved: ResolvedImageRequest,
    fingerprint: Fingerprint,
    warnings: tuple[str, ...],
    adapters: tuple[AdapterReport, ...],
    embeddings: tuple[EmbeddingReport, ...],
) -> Picture:
    """The picture with its recipe."""
    trace = scope.trace.entries()
    run = Run(
        index=scope.image,
        seed=resolved.for_image(scope.image).seed,
        created=utc_now(),
        fingerprint=fingerprint,
        trace=trace,
        trace_checksum=trace_checksum(trace),
        pixels_sha256=pixels_sha256(image),
        metering=scope.meter.total(),
        warnings=warnings,
        adapters=adapters,
        embeddings=embeddings,
        redone_in_float32=tuple(scope.redone),
    )
    return Picture(image=image, recipe=Recipe(asked=asked.kept(), resolved=resolved, run=run))
