"""A foreign recipe held against what is on this machine: its model, VAE, networks, and what the model takes."""

from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from typing import Any

from gesso.core.chance import Chance
from gesso.core.errors import GessoError
from gesso.core.merging import given_fields
from gesso.core.requests import ResolvedHiresPass
from gesso.engine.facts import ModelFacts, facts_of, has_true_guidance
from gesso.engine.foreign.beginning import with_beginning
from gesso.engine.foreign.here import with_model, with_networks, with_refiner
from gesso.engine.foreign.values import ForeignRecipe, Program
from gesso.engine.guidance.checks import check_guidance
from gesso.engine.hires.checks import resolve_hires
from gesso.engine.refiner.checks import check_refiner, resolve_refiner
from gesso.engine.samplers.table import AUTOMATIC, DEFAULT, SAMPLERS, resolve_sampler, takes_chance
from gesso.models.folder import ModelDescription
from gesso.models.store import ModelStore

_IGNORES_CLIP_SKIP = frozenset({Program.AUTOMATIC1111, Program.FORGE})
_FLOW_LEVELS = frozenset({"simple", "uniform"})
"""Of rectified flows: those of `simple` are the pipeline's own, but for the shift, which follows the size here."""


def fitted(recipe: ForeignRecipe, store: ModelStore, overrides: Mapping[str, Any], *, usual: str) -> ForeignRecipe:
    """The recipe for the model that will make the picture.

    Args:
        overrides: fields of the request that have other values in any case. A sampler that is among them goes without
            what was said of the other one.
        usual: the model that makes it if that of the recipe is not here.
    """
    chosen = overrides.get("model")
    if "sampler" in overrides:
        own = {"sampler": overrides["sampler"], "schedule": None}
        recipe = recipe.replacing(**dict.fromkeys(field.name for field in dataclass_fields(Chance)), **own)
    recipe = recipe.replacing(model=chosen) if chosen is not None else with_model(recipe, store, usual=usual)
    asked = recipe.fields.get("model", usual)
    try:
        description = store.find(asked)
        facts = facts_of(description, asked=asked)
    except GessoError:  # told when the request is made, with its own words
        return with_beginning(recipe, overrides, flow=False)
    recipe = with_beginning(recipe, overrides, flow=facts.flow)
    recipe = with_networks(recipe, store, facts, here=chosen is not None or "model" in recipe.fields)
    for fit in (_prompt_language, _clip_skip, _sampler, _chance, _guidance, _negative, _tiling, _size, _second_pass):
        recipe = fit(recipe, facts)
    refiner = overrides.get("refiner", {})
    if refiner is None or "model" in given_fields(refiner):
        return recipe
    return _refiner(with_refiner(recipe, store), description, facts, store)


def _prompt_language(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    if facts.reads is not None:
        return recipe
    return recipe.without("dialect", "weighting", why=f"`{facts.name}` reads prompts as plain text")


def _clip_skip(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    """Of SDXL, AUTOMATIC1111 reads the usual layers whatever it writes, and ComfyUI counts them from the last one."""
    skip = recipe.fields.get("clip_skip")
    if skip is None:
        return recipe
    if facts.family == "sdxl" and recipe.program in _IGNORES_CLIP_SKIP:
        return recipe.describing("clip_skip")
    if facts.family == "sdxl" and recipe.program is Program.COMFYUI:
        if skip == 1:
            return recipe.without("clip_skip", why="the last layer of SDXL's text encoders is not read here")
        return recipe.replacing(clip_skip=skip - 1)
    if not facts.clip_skip:
        if skip == 1:
            return recipe.describing("clip_skip")
        return recipe.without("clip_skip", why=f"`{facts.name}` has none")
    return recipe


def _sampler(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    name, schedule = recipe.fields.get("sampler"), recipe.fields.get("schedule")
    if name is None:
        return recipe
    if facts.flow and schedule in _FLOW_LEVELS:
        recipe = recipe.replacing(schedule=None)
        schedule = None
    try:
        resolve_sampler(name, schedule, flow=facts.flow, scheduler_class=facts.scheduler)
    except GessoError as error:
        return recipe.without("sampler", "schedule", why=error.message)
    return recipe


def _chance(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    sampler = SAMPLERS.get(recipe.fields.get("sampler") or DEFAULT)
    form = sampler.form(flow=facts.flow) if sampler is not None else None
    for field in dataclass_fields(Chance):
        if field.name in recipe.fields and not takes_chance(form, field.name):
            recipe = recipe.without(field.name, why="it has no effect on the sampler here")
    if not recipe.fields.get("s_churn"):
        recipe = recipe.without("s_tmin", "s_tmax", why="it has no effect without churn")
    return recipe


def _guidance(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    arguments = dict(recipe.fields.get("arguments", {}))
    if "true_cfg_scale" in arguments and "true_cfg_scale" not in facts.accepts:
        recipe = recipe.without("arguments", why=f"`{facts.name}` has no second guidance")
    elif arguments and not arguments.keys() <= facts.accepts:
        recipe = recipe.without("arguments", why=f"`{facts.name}` does not take it")
    if not facts.takes_guidance and recipe.fields.get("guidance", 1.0) not in {0.0, 1.0}:
        recipe = recipe.without("guidance", why=f"guidance has no effect on `{facts.name}`")
    try:
        check_guidance(recipe.request, facts, recipe.fields.get("guidance", facts.defaults.guidance))
    except GessoError as error:
        changes = ("guidance_start", "guidance_stop", "guidance_rescale", "dynamic_thresholding")
        return recipe.without(*changes, why=error.message)
    return recipe


def _second_pass(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    """Whether one can be made of it on this model, is for the one who makes it to say."""
    try:
        _resolved_second(recipe, facts)
    except GessoError as error:
        return recipe.without("hires", why=error.message)
    return recipe


def _refiner(recipe: ForeignRecipe, model: ModelDescription, facts: ModelFacts, store: ModelStore) -> ForeignRecipe:
    use = recipe.fields.get("refiner")
    if use is None:
        return recipe
    try:
        found = store.find(use["model"])
        check_refiner(model, found)
        resolve_refiner(
            recipe.request,
            facts,
            facts_of(found, asked=use["model"], finishes=True),
            steps=recipe.fields.get("steps", facts.defaults.steps),
            strength=recipe.fields.get("strength", 1.0),
            hires=_resolved_second(recipe, facts),
        )
    except GessoError as error:
        return recipe.without("refiner", why=error.message)
    return recipe


def _resolved_second(recipe: ForeignRecipe, facts: ModelFacts) -> ResolvedHiresPass | None:
    fields = recipe.fields
    size = tuple(fields.get(name, own) for name, own in zip(("width", "height"), facts.default_size_px, strict=True))
    return resolve_hires(
        recipe.request,
        facts,
        size_px=(size[0], size[1]),
        steps=fields.get("steps", facts.defaults.steps),
        sampler=(fields.get("sampler", DEFAULT), fields.get("schedule", AUTOMATIC)),
        guidance=fields.get("guidance", facts.defaults.guidance),
        chance=Chance(),
    )


def _tiling(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    if "tiling" in recipe.fields and not facts.convolves:
        return recipe.without("tiling", why=f"`{facts.name}` has no convolutions that could wrap round")
    return recipe


def _negative(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    if not recipe.fields.get("negative_prompt"):
        return recipe
    second = has_true_guidance(recipe.fields.get("arguments", {}))
    if not facts.takes_negative_prompt or (facts.distilled and not second):
        return recipe.without("negative_prompt", why=f"it has no effect on `{facts.name}`")
    return recipe


def _size(recipe: ForeignRecipe, facts: ModelFacts) -> ForeignRecipe:
    sides = {name: recipe.fields[name] for name in ("width", "height") if name in recipe.fields}
    multiple = facts.size_multiple_px
    fitting = {name: max(multiple, side // multiple * multiple) for name, side in sides.items()}
    if fitting == sides:
        return recipe
    said = "x".join(str(side) for side in fitting.values())
    note = f"`{facts.name}` makes sides that are multiples of {multiple}, so {said} is made"
    return recipe.with_fields("(size)", "x".join(str(side) for side in sides.values()), note, **fitting)
