"""Deciding what was left open and refusing what cannot be done, before any network runs.

A pure function of request, model facts, device and settings; the only chance in it are the seeds, which are drawn by
the caller and passed in.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from dataclasses import fields as dataclass_fields
from types import MappingProxyType

from gesso.core.chance import Chance
from gesso.core.errors import DeviceError, InputError
from gesso.core.requests import (
    LEAST_STRENGTH,
    MAX_PROMPT_CHARACTERS,
    MAX_SEED,
    MAX_SIDE_PX,
    MAX_STEPS,
    ImageRequest,
    NoiseSource,
    Precision,
    PromptDialect,
    ResolvedAdapter,
    ResolvedImageRequest,
    ResolvedVae,
    Weighting,
)
from gesso.core.settings import Settings
from gesso.core.units import nearest_multiple
from gesso.devices.base import Device
from gesso.engine.adapter_files import AdapterFacts
from gesso.engine.arguments import broken_character, check_arguments
from gesso.engine.edit.checks import GivenPictures, check_edit, decided, facts_of_task, usual_size
from gesso.engine.facts import OTHER, ModelFacts, has_true_guidance
from gesso.engine.guidance.checks import check_guidance
from gesso.engine.hires.checks import resolve_hires
from gesso.engine.inversion_checks import resolve_embeddings
from gesso.engine.inversion_files import InversionFacts
from gesso.engine.prompt.reading import read_prompts
from gesso.engine.refiner.checks import resolve_refiner
from gesso.engine.samplers.table import DEFAULT, OWN_ETA, check_steps, resolve_chance, resolve_sampler
from gesso.engine.vae_files import VaeFacts
from gesso.models.bases.fitting import check_adapter
from gesso.models.families import Reads
from gesso.models.single_files.tiny import DECODER, ENCODER

MAX_COUNT = 100_000
MAX_PRIORITY = 100
MAX_CHURN = 10_000
"""Above every noise level that there is; more churn than steps is cut off by the sampler itself."""
MAX_ETA_SEED_OFFSET = 2**64 - 1 - MAX_SEED
"""Generators take seeds of 64 bits, and ComfyUI gives them such."""
MAX_ADAPTERS = 64
MAX_ADAPTER_WEIGHT = 100
MAX_DEADLINE_SECONDS = 30 * 24 * 3600
"""Timers cannot wait for ever: on Windows 49 days is the most."""


def resolve(
    request: ImageRequest,
    facts: ModelFacts,
    device: Device,
    settings: Settings,
    *,
    seed: int,
    variation_seed: int,
    adapters: Sequence[AdapterFacts] = (),
    adapters_in_prompt: int = 0,
    missing: Sequence[str] = (),
    embeddings: Sequence[InversionFacts] = (),
    named_embeddings: Sequence[InversionFacts] = (),
    vaes: Mapping[str, VaeFacts] = MappingProxyType({}),
    dynamic: bool = False,
    given: GivenPictures | None = None,
    refiner: ModelFacts | None = None,
) -> ResolvedImageRequest:
    """What will be done.

    Args:
        request: with the texts of one picture, of which `dynamic` tells whether they were chosen.
        adapters: of each adapter of the request, in their order.
        adapters_in_prompt: how many of the last adapters were named in the prompt, which does not hold them any more.
        missing: networks that were named there and are left out.
        embeddings: of each embedding of the request, in their order.
        named_embeddings: others whose names stand in the prompts.
        vaes: that stand in for the decoder and the encoder of the model's own.
        given: the pictures that the request begins with.
        refiner: facts of the refiner that it asks for.
        seed: used if the request has none.
        variation_seed: used if the request has none and asks for a variation.

    Raises:
        InputError: a value is out of range, does not fit the model, or would have no effect.
        UnknownNameError: no such sampler or schedule.
        DeviceError: the device cannot compute in the precision asked for.
    """
    check_texts(request, facts)
    check_ranges(request)
    text_facts, facts = facts, facts_of_task(request, facts)
    _check_arguments(request, facts)
    applied = _adapters(request, facts, adapters)
    own = len(applied) - adapters_in_prompt
    applied = (*applied[:own], *(one.model_copy(update={"from_prompt": True}) for one in applied[own:]))
    request, facts = _with_few_steps(request, facts, adapters)
    width, height = _size(request, facts, given)
    sampler, schedule = resolve_sampler(
        request.sampler, request.schedule, flow=facts.flow, scheduler_class=facts.scheduler
    )
    steps = request.steps if request.steps is not None else facts.defaults.steps
    strength = check_edit(request, facts, steps)
    check_steps(sampler, steps, scheduler_class=facts.scheduler, scheduler_config=facts.scheduler_config)
    chance = _chance(request, facts, sampler)
    precision = _precision(request, device, settings)
    guidance = _guidance(request, facts)
    check_guidance(request, facts, guidance)
    dialect = dialect_of(request, facts)
    weighting = _weighting(request, dialect)
    _check_prompts(request, facts, dialect, steps=steps, guidance=guidance)
    hires = resolve_hires(
        request,
        text_facts,
        size_px=(width, height),
        steps=steps,
        sampler=(sampler, schedule),
        guidance=guidance,
        chance=chance,
    )
    if hires is not None:
        texts = {"prompt": hires.prompt, "negative_prompt": hires.negative_prompt}
        second = request.model_copy(update={name: text for name, text in texts.items() if text is not None})
        _check_prompts(second, text_facts, dialect, steps=hires.steps, guidance=hires.guidance, made=steps)
    return ResolvedImageRequest(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt or "",
        model=facts.reference,
        parts=dict(facts.parts),
        family=facts.family,
        pipeline=facts.pipeline,
        width=width,
        height=height,
        steps=steps,
        sampler=sampler,
        schedule=schedule,
        guidance=guidance,
        guidance_rescale=request.guidance_rescale or 0.0,
        guidance_start=request.guidance_start or 0.0,
        guidance_stop=1.0 if request.guidance_stop is None else request.guidance_stop,
        dynamic_thresholding=request.dynamic_thresholding,
        tiling=request.tiling,
        hires=hires,
        refiner=resolve_refiner(request, facts, refiner, steps=steps, strength=strength, hires=hires),
        **asdict(chance),
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
        noise_source=request.noise_source or settings.noise_source,
        eta_seed_offset=request.eta_seed_offset or 0,
        variation_seed=_variation_seed(request, variation_seed),
        variation_strength=request.variation_strength or 0.0,
        vae_decoder=_vae(vaes.get(DECODER), device, precision),
        vae_encoder=_vae(vaes.get(ENCODER), device, precision),
        **decided(request, given),
        strength=strength,
        adapters=applied,
        embeddings=resolve_embeddings(request, facts, embeddings, named_embeddings),
        strict=request.strict,
        dialect=dialect,
        weighting=weighting,
        missing=tuple(missing),
        styles=request.styles,
        dynamic=dynamic,
        wildcard_seed=request.wildcard_seed,
    )


def dialect_of(request: ImageRequest, facts: ModelFacts) -> PromptDialect:
    """How the prompts of a request are read.

    Raises:
        InputError: its model reads plain text only.
    """
    if facts.reads is None and request.dialect not in (None, PromptDialect.PLAIN):
        raise InputError(
            f"`{facts.name}` ({facts.family}) reads prompts as plain text, not as `{request.dialect}`",
            hint="use `plain`; the families of `gesso models families` that are first-class take weights and schedules",
        )
    if request.dialect is not None:
        return request.dialect
    return PromptDialect.PLAIN if facts.reads is None or _is_json(request.prompt) else PromptDialect.GESSO


def _is_json(text: str) -> bool:
    """Whether a prompt is a JSON object, as makers of some models advise: then its brackets are its own."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _weighting(request: ImageRequest, dialect: PromptDialect) -> Weighting:
    if request.weighting is not None:
        # A resolved request that is run again says it, also where it means nothing.
        if dialect is PromptDialect.PLAIN and request.weighting is not Weighting.ORIGINAL:
            raise InputError(
                f"Weighting `{request.weighting}` has no effect: plain prompts have no weights", hint="leave it out"
            )
        return request.weighting
    return Weighting.COMFYUI if dialect is PromptDialect.COMFYUI else Weighting.ORIGINAL


def _check_prompts(
    request: ImageRequest, facts: ModelFacts, dialect: PromptDialect, *, steps: int, guidance: float, made: int = 0
) -> None:
    reading = read_prompts(request.prompt, request.negative_prompt or "", dialect=dialect, steps=steps, made=made)
    if reading.composed and not facts.guided(guidance, request.arguments, request.negative_prompt or ""):
        hint = f"use guidance above {facts.guided_above:g}"
        if facts.distilled:
            takes = "true_cfg_scale" in facts.accepts
            hint = "add the argument `true_cfg_scale` above 1 and a negative prompt" if takes else "leave them out"
        raise InputError("Parts of a prompt that AND joins, or that have a weight, need guidance", hint=hint)
    if facts.reads is Reads.WHOLE and reading.divided:
        raise InputError(
            f"`{facts.name}` ({facts.family}) reads a prompt as one turn of a conversation, which BREAK cannot divide",
            hint="leave BREAK out",
        )


def _vae(found: VaeFacts | None, device: Device, precision: Precision) -> ResolvedVae | None:
    if found is None:
        return None
    if found.precision is not None and not device.supports(found.precision):
        raise DeviceError(f"`{device.name}` does not compute in {found.precision}", hint="leave the VAE's out")
    own = device.vae_precision(precision, force_upcast=found.force_upcast)
    return ResolvedVae(name=found.reference, sha256=found.sha256, precision=found.precision or own)


def _adapters(
    request: ImageRequest, facts: ModelFacts, adapters: Sequence[AdapterFacts]
) -> tuple[ResolvedAdapter, ...]:
    if len(request.adapters) > MAX_ADAPTERS:
        raise InputError(f"{len(request.adapters)} adapters were asked for", hint=f"use {MAX_ADAPTERS} at most")
    resolved: list[ResolvedAdapter] = []
    for use, found in zip(request.adapters, adapters, strict=True):
        if not 0 <= use.start < use.stop <= 1:
            raise InputError(
                f"The adapter `{found.title}` is asked for from {use.start:g} to {use.stop:g} of the steps",
                hint="shares lie between 0 and 1, the first below the second",
            )
        if (use.start, use.stop) != (0, 1) and not facts.scheduler:
            raise InputError(
                f"`{facts.name}` ({facts.pipeline}) does not show its steps, so an adapter is on for all or for none",
                hint="leave the range of steps out",
            )
        base = facts.base
        family = base.family if base is not None else facts.family
        if family != OTHER:
            variant = base.variant if base is not None else None
            check_adapter(found.recognition, name=found.title, model=facts.name, family=family, variant=variant)
        text_encoder_weight = use.weight if use.text_encoder_weight is None else use.text_encoder_weight
        for weight in (use.weight, text_encoder_weight, *use.blocks.values()):
            if abs(weight) > MAX_ADAPTER_WEIGHT:
                raise InputError(
                    f"The adapter `{found.title}` is asked for at weight {weight:g}",
                    hint=f"weights are -{MAX_ADAPTER_WEIGHT} to {MAX_ADAPTER_WEIGHT}; 1 is as trained",
                )
        resolved.append(
            ResolvedAdapter(
                name=found.reference,
                weight=use.weight,
                text_encoder_weight=text_encoder_weight,
                blocks=use.blocks,
                start=use.start,
                stop=use.stop,
                sha256=found.sha256,
            )
        )
    return tuple(resolved)


def _with_few_steps(
    request: ImageRequest, facts: ModelFacts, adapters: Sequence[AdapterFacts]
) -> tuple[ImageRequest, ModelFacts]:
    """What an adapter that makes a model need few steps brings stands where the request says nothing."""
    wanted = next(
        (found.sampled for use, found in zip(request.adapters, adapters, strict=True) if found.sampled and use.weight),
        None,
    )
    if wanted is None:
        return request, facts
    guidance = facts.defaults.guidance if wanted.guidance is None else wanted.guidance
    facts = replace(facts, defaults=replace(facts.defaults, steps=wanted.steps, guidance=guidance))
    if request.sampler is None and wanted.sampler is not None:
        schedule = request.schedule if request.schedule is not None else wanted.schedule
        request = request.model_copy(update={"sampler": wanted.sampler, "schedule": schedule})
    return request, facts


def check_texts(request: ImageRequest, facts: ModelFacts) -> None:
    """Raises `InputError` for a text that is too long, or holds what no text may."""
    prompts = {"prompt": request.prompt, "negative prompt": request.negative_prompt}
    if (hires := request.hires) is not None:
        prompts |= {"prompt of the second pass": hires.prompt}
        prompts |= {"negative prompt of the second pass": hires.negative_prompt}
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


def check_ranges(request: ImageRequest) -> None:
    """Raises `InputError` for a number that nothing can be done with."""
    ranges: tuple[tuple[str, float | None, float, float], ...] = (
        ("steps", request.steps, 1, MAX_STEPS),
        ("count", request.count, 1, MAX_COUNT),
        ("seed", request.seed, 0, MAX_SEED),
        ("eta seed offset", request.eta_seed_offset, 0, MAX_ETA_SEED_OFFSET),
        ("variation seed", request.variation_seed, 0, MAX_SEED),
        ("wildcard seed", request.wildcard_seed, 0, MAX_SEED),
        ("variation strength", request.variation_strength, 0, 1),
        ("guidance", request.guidance, 0, 1000),
        ("strength", request.strength, LEAST_STRENGTH, 1),
        ("guidance rescale", request.guidance_rescale, 0, 1),
        ("guidance start", request.guidance_start, 0, 1),
        ("guidance stop", request.guidance_stop, 0, 1),
        ("eta", request.eta, 0, 1),
        ("s_churn", request.s_churn, 0, MAX_CHURN),
        ("s_tmin", request.s_tmin, 0, MAX_CHURN),
        ("s_tmax", request.s_tmax, 0, MAX_CHURN),
        ("s_noise", request.s_noise, 0, 2),
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
        # Pictures that are given are brought to their size before.
        (request.width is not None and request.image is None, "width", "a width"),
        (request.height is not None and request.image is None, "height", "a height"),
        (request.steps is not None, "num_inference_steps", "a number of steps"),
        (request.noise_source not in (None, NoiseSource.CPU), "generator", "a noise source"),
        (bool(request.eta_seed_offset), "generator", "an eta seed offset"),
        (bool(request.variation_strength), "generator", "a variation"),
    )
    for asked, argument, words in needs:
        if asked and argument not in facts.accepts:
            raise InputError(f"`{facts.name}` ({facts.pipeline}) does not take {words}", hint="leave it out")
    if request.clip_skip is not None and request.clip_skip > 1 and not facts.clip_skip:
        raise InputError(f"`{facts.name}` ({facts.family}) has no clip skip", hint="leave it out")
    if request.tiling is not None and not facts.convolves:
        raise InputError(
            f"`{facts.name}` ({facts.pipeline}) cannot make seamless textures: its denoiser is no UNet, and has "
            "no convolutions that could wrap round",
            hint="leave the tiling out, or use a model with a UNet (Stable Diffusion 1, 2 or XL)",
        )
    if request.negative_prompt:
        _check_negative_prompt(request, facts)


def _check_negative_prompt(request: ImageRequest, facts: ModelFacts) -> None:
    if not facts.takes_negative_prompt:
        raise InputError(f"`{facts.name}` ({facts.pipeline}) does not take a negative prompt", hint="leave it out")
    if facts.distilled and not has_true_guidance(request.arguments):
        otherwise = "add the argument `true_cfg_scale` above 1 (twice the time), or "
        raise InputError(
            f"A negative prompt has no effect on `{facts.name}`, whose guidance is distilled",
            hint=f"{otherwise if 'true_cfg_scale' in facts.accepts else ''}leave the negative prompt out",
        )


def _chance(request: ImageRequest, facts: ModelFacts, sampler: str) -> Chance:
    if "eta" in request.arguments and (sampler != DEFAULT or facts.scheduler not in OWN_ETA):
        whose = f"sampler `{sampler}`" if sampler != DEFAULT else f"the model's own scheduler, `{facts.scheduler}`"
        raise InputError(f"The argument `eta` has no effect on {whose}", hint="use the field `eta` of the request")
    names = [field.name for field in dataclass_fields(Chance)]
    given = {name: value for name in names if (value := getattr(request, name)) is not None}
    # What changes nothing is not asked for: a resolved request that is run again says all of them.
    asked = frozenset(name for name, value in given.items() if value != getattr(Chance(), name))
    return resolve_chance(sampler, Chance(**given), asked, flow=facts.flow)


def _size(request: ImageRequest, facts: ModelFacts, given: GivenPictures | None) -> tuple[int, int]:
    multiple = facts.size_multiple_px
    usual = usual_size(request, facts, given)
    width = request.width if request.width is not None else usual[0]
    height = request.height if request.height is not None else usual[1]
    for name, side in (("width", width), ("height", height)):
        if not 1 <= side <= MAX_SIDE_PX:
            raise InputError(f"Asked for a {name} of {side} px", hint=f"sides are {multiple} to {MAX_SIDE_PX} px")
    if width % multiple or height % multiple:
        near_width, near_height = (nearest_multiple(side, multiple) for side in (width, height))
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


def _variation_seed(request: ImageRequest, drawn: int) -> int:
    if request.variation_seed is not None and request.variation_strength is None:
        raise InputError(
            f"Variation seed {request.variation_seed} has no effect without a variation strength",
            hint="add one, above 0 (hardly another picture) to 1 (the picture of that seed)",
        )
    if not request.variation_strength:
        return request.variation_seed or 0
    return request.variation_seed if request.variation_seed is not None else drawn


def _precision(request: ImageRequest, device: Device, settings: Settings) -> Precision:
    asked = request.precision or settings.precision
    if asked is None:
        return device.precision()
    if not device.supports(asked):
        raise DeviceError(f"`{device.name}` does not compute in {asked}", hint=f"it prefers {device.precision()}")
    return asked
