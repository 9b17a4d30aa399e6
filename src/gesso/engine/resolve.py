"""Deciding what was left open and refusing what cannot be done, before any network runs.

A pure function of request, model facts, device and settings; the only chance in it is the seed, which is drawn by the
caller and passed in.
"""

from gesso.core.errors import DeviceError, InputError
from gesso.core.requests import MAX_PROMPT_CHARACTERS, MAX_SEED, ImageRequest, Precision, ResolvedImageRequest
from gesso.core.settings import Settings
from gesso.devices.base import Device
from gesso.engine.arguments import broken_character, check_arguments
from gesso.engine.facts import ModelFacts
from gesso.engine.samplers.table import check_steps, resolve_sampler

MAX_STEPS = 10_000
MAX_COUNT = 100_000
MAX_SIDE_PX = 16_384
MAX_PRIORITY = 100
MAX_DEADLINE_SECONDS = 30 * 24 * 3600
"""Timers cannot wait for ever: on Windows 49 days is the most."""


def resolve(
    request: ImageRequest, facts: ModelFacts, device: Device, settings: Settings, *, seed: int
) -> ResolvedImageRequest:
    """What will be done.

    Args:
        seed: used if the request has none.

    Raises:
        InputError: a value is out of range, does not fit the model, or would have no effect.
        UnknownNameError: no such sampler or schedule.
        DeviceError: the device cannot compute in the precision asked for.
    """
    _check_texts(request, facts)
    _check_ranges(request)
    _check_arguments(request, facts)
    width, height = _size(request, facts)
    sampler, schedule = resolve_sampler(
        request.sampler, request.schedule, flow=facts.flow, scheduler_class=facts.scheduler
    )
    steps = request.steps if request.steps is not None else facts.defaults.steps
    check_steps(sampler, steps, scheduler_class=facts.scheduler, scheduler_config=facts.scheduler_config)
    precision = _precision(request, device, settings)
    return ResolvedImageRequest(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt or "",
        model=facts.reference,
        family=facts.family,
        pipeline=facts.pipeline,
        width=width,
        height=height,
        steps=steps,
        sampler=sampler,
        schedule=schedule,
        guidance=_guidance(request, facts),
        guidance_rescale=request.guidance_rescale or 0.0,
        seed=request.seed if request.seed is not None else seed,
        count=request.count,
        clip_skip=request.clip_skip or 1,
        device=device.name,
        precision=precision,
        vae_precision=device.vae_precision(precision, force_upcast=facts.vae_force_upcast),
        exact=request.exact if request.exact is not None else settings.exact,
        arguments=request.arguments,
        output_format=request.output_format or settings.output_format,
        priority=request.priority,
        owner=request.owner,
    )


def _check_texts(request: ImageRequest, facts: ModelFacts) -> None:
    prompts = {"prompt": request.prompt, "negative prompt": request.negative_prompt}
    for name, text in (prompts | {"model": facts.reference, "owner": request.owner}).items():
        problem = broken_character(text or "")
        if problem is not None:
            raise InputError(f"The {name} holds {problem}", hint="take it out; texts are Unicode, from the shell UTF-8")
    for name, text in prompts.items():
        if len(text or "") > MAX_PROMPT_CHARACTERS:
            raise InputError(
                f"The {name} has {len(text or ''):,} characters, at most {MAX_PROMPT_CHARACTERS:,} are read",
                hint="shorten it; nothing of a prompt is ever cut off silently",
            )


def _check_ranges(request: ImageRequest) -> None:
    ranges: tuple[tuple[str, float | None, float, float], ...] = (
        ("steps", request.steps, 1, MAX_STEPS),
        ("count", request.count, 1, MAX_COUNT),
        ("seed", request.seed, 0, MAX_SEED),
        ("guidance", request.guidance, 0, 1000),
        ("guidance rescale", request.guidance_rescale, 0, 1),
        ("clip skip", request.clip_skip, 1, 12),
        ("priority", request.priority, -MAX_PRIORITY, MAX_PRIORITY),
        ("deadline", request.deadline_seconds, 0, MAX_DEADLINE_SECONDS),
    )
    for name, value, least, most in ranges:
        if value is not None and not least <= value <= most:
            found = f"{value:g}" if isinstance(value, float) else value  # whole numbers in full, however long
            raise InputError(f"Asked for {name} {found}", hint=f"{name} is {least} to {most}")


def _check_arguments(request: ImageRequest, facts: ModelFacts) -> None:
    check_arguments(request.arguments, facts)
    needs: tuple[tuple[bool, str, str], ...] = (
        (request.width is not None, "width", "a width"),
        (request.height is not None, "height", "a height"),
        (request.steps is not None, "num_inference_steps", "a number of steps"),
        (bool(request.guidance_rescale), "guidance_rescale", "a guidance rescale"),
        (bool(request.negative_prompt), "negative_prompt", "a negative prompt"),
    )
    for asked, argument, words in needs:
        if asked and argument not in facts.accepts:
            raise InputError(f"`{facts.name}` ({facts.pipeline}) does not take {words}", hint="leave it out")
    if request.clip_skip is not None and request.clip_skip > 1 and not facts.clip_skip:
        raise InputError(f"`{facts.name}` ({facts.family}) has no clip skip", hint="leave it out")
    if request.negative_prompt and facts.distilled:
        _check_true_guidance(request, facts)


def _check_true_guidance(request: ImageRequest, facts: ModelFacts) -> None:
    scale = request.arguments.get("true_cfg_scale", 1.0)
    if not isinstance(scale, int | float) or scale <= 1:
        raise InputError(
            f"A negative prompt has no effect on `{facts.name}`, whose guidance is distilled",
            hint="add the argument `true_cfg_scale` above 1 (twice the time), or leave the negative prompt out",
        )


def _size(request: ImageRequest, facts: ModelFacts) -> tuple[int, int]:
    width = request.width if request.width is not None else facts.default_size_px[0]
    height = request.height if request.height is not None else facts.default_size_px[1]
    multiple = facts.size_multiple_px
    for name, side in (("width", width), ("height", height)):
        if not 1 <= side <= MAX_SIDE_PX:
            raise InputError(f"Asked for a {name} of {side} px", hint=f"sides are {multiple} to {MAX_SIDE_PX} px")
    if width % multiple or height % multiple:
        near_width, near_height = (max(multiple, round(side / multiple) * multiple) for side in (width, height))
        raise InputError(
            f"Asked for {width}x{height}, `{facts.name}` makes sides that are multiples of {multiple}",
            hint=f"nearest: {near_width}x{near_height}",
        )
    return width, height


def _guidance(request: ImageRequest, facts: ModelFacts) -> float:
    if request.guidance is None:
        return facts.defaults.guidance if facts.takes_guidance else 0.0
    if not facts.takes_guidance and request.guidance not in {0.0, 1.0}:
        raise InputError(
            f"Guidance has no effect on `{facts.name}`, asked for {request.guidance:g}", hint="leave it out"
        )
    return request.guidance


def _precision(request: ImageRequest, device: Device, settings: Settings) -> Precision:
    asked = request.precision or settings.precision
    if asked is None:
        return device.precision()
    if not device.supports(asked):
        raise DeviceError(f"`{device.name}` does not compute in {asked}", hint=f"it prefers {device.precision()}")
    return asked
