"""What the second pass of a request will be, and which make no sense."""

from collections.abc import Iterator
from dataclasses import fields

from gesso.core.chance import Chance
from gesso.core.errors import InputError
from gesso.core.requests import (
    LEAST_STRENGTH,
    MAX_SIDE_PX,
    MAX_STEPS,
    HiresPass,
    ImageRequest,
    ResolvedHiresPass,
    ResolvedImageRequest,
)
from gesso.core.units import nearest_multiple
from gesso.engine.edit.strength import planned_steps
from gesso.engine.facts import ModelFacts, facts_for
from gesso.engine.hires.upscalers import LANCZOS, LATENT, UPSCALERS, upscaler_named
from gesso.engine.samplers.table import (
    DEFAULT,
    SAMPLERS,
    check_steps,
    resolve_chance,
    resolve_sampler,
    takes_chance,
)
from gesso.models.tasks import Task

USUAL_SCALE = 2.0
MAX_SCALE = 16
USUAL_STRENGTH = 0.7
_CELLS = frozenset({"sd1", "sd2", "sdxl", "sd3"})
"""Families whose pipelines give their latents, and take them, as a picture of cells."""


def resolve_hires(
    request: ImageRequest,
    facts: ModelFacts,
    *,
    size_px: tuple[int, int],
    steps: int,
    sampler: tuple[str, str],
    guidance: float,
    chance: Chance,
) -> ResolvedHiresPass | None:
    """The second pass of a request, if it asks for one.

    Args:
        facts: of the model as it makes pictures from text.
        size_px, steps, sampler, guidance, chance: of the first pass; the sampler with its schedule.

    Raises:
        InputError: it cannot be made, or not with this model.
    """
    hires = request.hires
    if hires is None:
        return None
    if Task.IMAGE_TO_IMAGE not in facts.tasks:
        raise InputError(
            f"`{facts.name}` ({facts.pipeline}) makes no second pass: it does not do {Task.IMAGE_TO_IMAGE}",
            hint="leave `hires`, `--hires` out; `gesso upscale` enlarges the result, also with another model",
        )
    second = facts_for(facts, Task.IMAGE_TO_IMAGE)
    _check_numbers(hires)
    width, height = _size(hires, second, size_px)
    named = resolve_sampler(
        hires.sampler or sampler[0],
        hires.schedule or (sampler[1] if hires.sampler is None else None),
        flow=facts.flow,
        scheduler_class=facts.scheduler,
    )
    strength = USUAL_STRENGTH if hires.strength is None else hires.strength
    made = steps if hires.steps is None else hires.steps
    planned = planned_steps(made, strength)
    check_steps(named[0], planned, scheduler_class=facts.scheduler, scheduler_config=facts.scheduler_config)
    own = guidance if hires.guidance is None else hires.guidance
    if not facts.takes_guidance and own not in {0.0, 1.0}:
        raise InputError(f"Guidance has no effect on `{facts.name}`, asked for {own:g}", hint="leave it out")
    if hires.negative_prompt and own <= facts.guided_above:
        raise InputError(
            f"The negative prompt of the second pass has no effect at guidance {own:g}", hint="leave one of them out"
        )
    return ResolvedHiresPass(
        width=width,
        height=height,
        upscaler=_upscaler(hires, facts),
        steps=made,
        planned_steps=planned,
        strength=strength,
        sampler=named[0],
        schedule=named[1],
        guidance=own,
        prompt=hires.prompt,
        negative_prompt=hires.negative_prompt,
        chance=chance if named[0] == sampler[0] else _own_chance(request, named[0], flow=facts.flow),
    )


def idle_chance(request: ImageRequest, resolved: ResolvedImageRequest) -> Iterator[str]:
    """What the request says of chance and the sampler of the second pass does not take, a line each."""
    hires = resolved.hires
    if hires is None or hires.chance is None:
        return
    for field in fields(Chance):
        said = getattr(request, field.name)
        if said not in (None, field.default) and getattr(hires.chance, field.name) != said:
            yield f"`{field.name}` has no effect on sampler `{hires.sampler}` of the second pass"


def _own_chance(request: ImageRequest, sampler: str, *, flow: bool) -> Chance:
    """Of another sampler than that of the first pass: what the request says and it takes, else its own."""
    form = SAMPLERS[sampler].form(flow=flow) if sampler != DEFAULT else None
    names = [field.name for field in fields(Chance) if takes_chance(form, field.name)]
    said = {name: value for name in names if (value := getattr(request, name)) is not None}
    return resolve_chance(sampler, Chance(**said), frozenset(), flow=flow)


def _check_numbers(hires: HiresPass) -> None:
    ranges = (
        ("scale", hires.scale, 1, MAX_SCALE),
        ("steps", hires.steps, 1, MAX_STEPS),
        ("strength", hires.strength, LEAST_STRENGTH, 1),
        ("guidance", hires.guidance, 0, 1000),
    )
    for name, value, least, most in ranges:
        if value is not None and not least <= value <= most:
            raise InputError(
                f"Asked for {name} {value:g} of the second pass", hint=f"its {name} is {least:g} to {most:g}"
            )


def _size(hires: HiresPass, facts: ModelFacts, first_px: tuple[int, int]) -> tuple[int, int]:
    scale = USUAL_SCALE if hires.scale is None else hires.scale
    if hires.width is not None or hires.height is not None:
        if hires.scale is not None:
            raise InputError("Both a scale and a size are asked for of the second pass", hint="leave one of them out")
        asked = (hires.width, hires.height)
        scale = max(side / first for side, first in zip(asked, first_px, strict=True) if side is not None)
    multiple = facts.size_multiple_px
    width, height = (
        nearest_multiple(first * scale, multiple) if side is None else side
        for side, first in zip((hires.width, hires.height), first_px, strict=True)
    )
    words = f"a second pass of {width}x{height} px after one of {first_px[0]}x{first_px[1]}"
    if width > MAX_SIDE_PX or height > MAX_SIDE_PX:
        raise InputError(f"Asked for {words}", hint=f"sides are at most {MAX_SIDE_PX} px")
    if width < first_px[0] or height < first_px[1]:
        raise InputError(f"Asked for {words}", hint="it is for larger pictures; `--size` sets the size of the first")
    if width % multiple or height % multiple:
        near = "x".join(str(nearest_multiple(side, multiple)) for side in (width, height))
        raise InputError(
            f"Asked for {words}, `{facts.name}` makes sides that are multiples of {multiple}", hint=f"nearest: {near}"
        )
    return width, height


def _upscaler(hires: HiresPass, facts: ModelFacts) -> str:
    if hires.upscaler is None:
        return LATENT if facts.family in _CELLS else LANCZOS
    name = upscaler_named(hires.upscaler)
    if UPSCALERS[name].latent_mode is not None and facts.family not in _CELLS:
        raise InputError(
            f"The upscaler `{name}` does not work on the latents of `{facts.name}` ({facts.pipeline})",
            hint=f"use `{LANCZOS}`, which enlarges pixels",
        )
    return name
